import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Happening, type Part, runCheckout } from './fixture-checkout.ts';

// SEED=… repeats a run, RUNS=… says how many orders there are.

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.RUNS ?? 1000);

const n = fc.nat({ max: 50 });
const outcome = fc.constantFrom('done' as const, 'done' as const, 'refused' as const);
const some = fc.uniqueArray(
  fc.record({ sku: fc.constantFrom('HEART', 'LANTERN'), quantity: fc.nat({ max: 3 }) }),
  {
    selector: ({ sku }) => sku,
    minLength: 1,
  },
);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('deliver' as const), n, keep: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('deliver everything' as const), outcome }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('deadline' as const), n }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('provider' as const), n, outcome }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hand over' as const) }) },
  { weight: 3, arbitrary: fc.constantFrom({ do: 'arrive' as const }, { do: 'lose' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('amend' as const), lines: some }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('refund' as const),
      lines: fc.option(
        some.map((lines) => lines.filter(({ quantity }) => quantity > 0)),
        { nil: undefined },
      ),
      restock: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      n,
      resolution: fc.constantFrom('try_again' as const, 'done_elsewhere' as const, 'written_off' as const),
    }),
  },
);
const easily = { do: 'deliver everything' as const, outcome: 'done' as const };
const left = { do: 'hand over' as const };
const order = fc.record({
  /** Most of what goes wrong late would otherwise never be reached. */
  beginning: fc.constantFrom<Happening[]>([], [], [easily], [easily, left], [easily, left, easily]),
  happenings: fc.array(happening, { maxLength: 60, size: 'max' }),
  stock: fc.constantFrom(10, 10, 10, 2),
  endings: fc.array(n, { minLength: 1, maxLength: 20, size: 'max' }),
});

function check(without: Part | undefined, runs: number, seen: (status: string) => void = () => {}): void {
  const run = fc.check(
    fc.property(order, ({ beginning, happenings, ...o }) => {
      seen(runCheckout([...beginning, ...happenings], { ...o, without }).status);
    }),
    { seed, numRuns: runs },
  );
  if (run.failed)
    throw new Error(`SEED=${seed}: ${run.errorInstance}\n${JSON.stringify(run.counterexample, null, 1)}`);
}

test('whatever happens to an order, and in whatever order: it ends, and the books of all agree', {
  timeout: 600_000,
}, () => {
  console.log(`SEED=${seed}`);
  const seen = new Map<string, number>();
  check(undefined, numRuns, (status) => seen.set(status, (seen.get(status) ?? 0) + 1));
  // Otherwise it would be of little worth.
  expect([...seen.keys()].sort()).toEqual(['cancelled', 'delivered', 'lost', 'rejected']);
});

test.each<[Part, string]>([
  ['release', 'stock that is with the order'],
  ['void', 'at its end'],
  ['deadlines', 'at its end'],
])('control: without the %s the model notices', (without, what) => {
  expect(() => check(without, 500)).toThrow(what);
});
