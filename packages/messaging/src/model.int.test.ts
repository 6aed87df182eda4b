import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openWorld, type World } from './fixture-model.ts';
import { type Step, steps } from './fixture-model-steps.ts';

// The long form is tests/faults/model.fault.test.ts. SEED=… repeats a run.

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world?.close());

test('whatever happens on the way: each committed message is applied once by each receiver, in order where it is wanted, and nothing else is', async () => {
  console.log(`SEED=${seed}`);
  await fc.assert(
    fc.asyncProperty(steps, (all) => world.run(all)),
    { seed, numRuns: 5, endOnFailure: true },
  );
});

const write = (...keys: string[]): Step => ({ do: 'write', keys, fault: 'none', delayed: false });
const wait: Step[] = Array.from({ length: 20 }, () => ({ do: 'wait' }));

test.each<['inbox' | 'order' | 'repair', Step[], string]>([
  ['inbox', [write('a'), ...wait, { do: 'deliver', to: 1, picks: [0, 0], fault: 'none' }], 'applied'],
  ['order', [write('a', 'a', 'a', 'a')], 'applied in order'],
  ['repair', [write('a', 'b'), ...wait, { do: 'lose', to: 0, picks: [0] }], 'applied in order'],
])('control: without the %s the model notices', async (without, all, what) => {
  await world.run(all);
  await expect(world.run(all, { without })).rejects.toThrow(what);
});
