import type { TestContext } from 'vitest';
import { skip } from '../cluster/skip.ts';
import { BROKER } from '../e2e/shop.ts';

/** Ends a test in which no broker can be chosen, with the reason, where one was: on another it would say again what it says without. */
export function skipOnOtherBrokers(context: TestContext, why: string): void {
  if (BROKER === undefined || BROKER === 'jetstream') return;
  skip(context, `${why}, so a run on ${BROKER} would tell nothing new: npm run test:faults`);
}
