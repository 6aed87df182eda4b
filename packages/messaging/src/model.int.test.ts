import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { openWorld, type World } from './fixture-model.ts';
import { type Step, steps } from './fixture-model-steps.ts';

// The long form is tests/faults/model.fault.test.ts. SEED=… repeats a run.

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
const stored = (n: number): Step => ({ do: 'wait', stored: n });
const deliver = (to: number, ...picks: number[]): Step => ({ do: 'deliver', to, picks, fault: 'none' });

test.each<['inbox' | 'order' | 'repair', Step[], string]>([
  ['inbox', [write('a'), stored(1), deliver(1, 0, 0)], 'applied'],
  ['order', [write('a', 'a', 'a', 'a'), stored(4), deliver(0, 3)], 'applied in order'],
  ['repair', [write('a', 'b'), stored(2), { do: 'lose', to: 0, picks: [0] }], 'applied in order'],
])('control: without the %s the model notices', async (without, all, what) => {
  await world.run(all);
  await expect(world.run(all, { without })).rejects.toThrow(what);
});
