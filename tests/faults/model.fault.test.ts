import fc from 'fast-check';
import { onTestFinished, test } from 'vitest';
import { openWorld } from '../../packages/messaging/src/fixture-model.ts';
import { steps } from '../../packages/messaging/src/fixture-model-steps.ts';
import { seed, times } from '../seed.ts';
import { skipOnOtherBrokers } from './other-broker.ts';

/** How many histories there are. */
const rounds = times('ROUNDS', 200);

test('random histories of writers, relays, deliveries, crashes and losses: each committed message is applied once, in order where it is wanted', async (context) => {
  skipOnOtherBrokers(context, 'its broker is a part of the model');
  const world = await openWorld();
  onTestFinished(() => world.close());
  console.log(`SEED=${seed} ROUNDS=${rounds}`);
  await fc.assert(
    fc.asyncProperty(steps, (all) => world.run(all)),
    { seed, numRuns: rounds, endOnFailure: true },
  );
}, 3_600_000);
