import type { z } from 'zod';
import { type StepTimeouts, stepTimeouts } from './checkout.ts';
import type { config } from './config.ts';

/** Each time of the environment for its own step. */
export function timeoutsOf(o: z.output<typeof config>): StepTimeouts {
  return stepTimeouts({
    reserve: o.RESERVE_TIMEOUT_MS,
    authorise: o.AUTHORISE_TIMEOUT_MS,
    hand_over: o.HAND_OVER_TIMEOUT_MS,
    deliver: o.DELIVER_TIMEOUT_MS,
    answer: o.ANSWER_TIMEOUT_MS,
  });
}
