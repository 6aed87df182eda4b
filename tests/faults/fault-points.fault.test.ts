import { seededRandom } from '@sidecart/kit/seeded-random';
import { expect, onTestFinished, test } from 'vitest';
import { openPipeline } from '../../packages/messaging/src/fixture-pipeline-run.ts';
import { seed, times } from '../seed.ts';
import { skipOnOtherBrokers } from './other-broker.ts';

/** Processes, each of which is to die of its fault point. */
const rounds = times('ROUNDS', 200);
const random = seededRandom(seed);

test('killed before or after any write to any of its connections, again and again: applied once, in order', async (context) => {
  skipOnOtherBrokers(context, 'its process has a client of NATS and no sidecar');
  const pipeline = await openPipeline({ env: process.env });
  onTestFinished(() => pipeline.close());
  console.log(`SEED=${seed} ROUNDS=${rounds}`);
  let died = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const die = {
      at: 1 + Math.floor(random() * 300),
      when: random() < 0.5 ? ('before' as const) : ('after' as const),
    };
    if ((await pipeline.run({ writes: 8, die })) === 'died') died += 1;
    // Now and then one lives, so that what is wrong is found near to where it began.
    if (round % 20 > 0 && round < rounds) continue;
    expect(await pipeline.run({ writes: 1 })).toBe('ended');
    console.log(`${round} rounds, ${died} deaths, ${await pipeline.check()} messages`);
  }
  expect(died).toBeGreaterThan(rounds / 2);
}, 3_600_000);
