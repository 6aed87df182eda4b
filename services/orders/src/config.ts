import { baseConfig } from '@sidecart/kit/config';
import { z } from 'zod';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

export const config = baseConfig.extend({
  QUOTE_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(50)
    .max(4000)
    .default(1500)
    .describe('how long to wait for products at most, in milliseconds; above its timeout in topology.yaml'),
  RESERVE_TIMEOUT_MS: timeout(15 * MINUTE, 'its stock before it is cancelled'),
  AUTHORISE_TIMEOUT_MS: timeout(15 * MINUTE, 'its payment to be authorised before it is cancelled'),
  HAND_OVER_TIMEOUT_MS: timeout(14 * DAY, 'its hand-over before it is cancelled'),
  ANSWER_TIMEOUT_MS: timeout(
    15 * MINUTE,
    'any other answer of payments or shipping before a person is asked',
  ),
  DELIVER_TIMEOUT_MS: timeout(30 * DAY, 'word of its arrival before a person is asked'),
  ARCHIVE_BINDING: z.string().min(1).optional().describe('the Dapr binding of archives, e.g. archive-orders'),
});

function timeout(ms: number, what: string) {
  return z.coerce
    .number()
    .int()
    .positive()
    .default(ms)
    .describe(`how long an order waits for ${what}, in milliseconds`);
}
