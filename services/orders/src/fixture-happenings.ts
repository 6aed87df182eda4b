import fc from 'fast-check';
import { type Happening, type Part, runCheckout, type Silence } from './fixture-checkout.ts';
import type { Neighbours } from './fixture-neighbours.ts';

// What happens to an order, by chance.

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
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('give up' as const),
      resolution: fc.constantFrom('done_elsewhere' as const, 'written_off' as const),
    }),
  },
);
const silence: fc.Arbitrary<Silence | undefined> = fc.option(
  fc.record({
    about: fc.constantFrom<Silence['about'][]>('capture', 'void', 'refund', 'cancel', 'amend', 'hand over'),
    lost: fc.constantFrom('question' as const, 'answer' as const),
  }),
  { nil: undefined },
);
const easily = { do: 'deliver everything' as const, outcome: 'done' as const };
const left = { do: 'hand over' as const };
const order = fc.record({
  /** Most of what goes wrong late would otherwise never be reached. */
  beginning: fc.constantFrom<Happening[]>([], [], [easily], [easily, left], [easily, left, easily]),
  happenings: fc.array(happening, { maxLength: 60, size: 'max' }),
  stock: fc.constantFrom(10, 10, 10, 2),
  endings: fc.array(n, { minLength: 1, maxLength: 20, size: 'max' }),
  silence,
});

/** Does it to many orders, and counts where they end and what was settled without an answer. Throws for the smallest course of events after which the books do not agree. */
export function checkOrders(o: { seed: number; runs: number; neighbours?: Neighbours; without?: Part }): {
  ends: string[];
  settled: string[];
} {
  const ends = new Map<string, number>();
  const settled = new Map<string, number>();
  const count = (counts: Map<string, number>, what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  const run = fc.check(
    fc.property(order, ({ beginning, happenings, ...choices }) => {
      const { status, events } = runCheckout([...beginning, ...happenings], { ...choices, ...o });
      count(ends, status);
      for (const event of events)
        if (event.type === 'OrderSettled' && event.resolution !== 'try_again')
          count(settled, `${event.problem} ${event.resolution}`);
    }),
    { seed: o.seed, numRuns: o.runs },
  );
  if (run.failed)
    throw new Error(`SEED=${o.seed}: ${run.errorInstance}\n${JSON.stringify(run.counterexample, null, 1)}`);
  console.log(`SEED=${o.seed}`, Object.fromEntries([...ends, ...settled]));
  return { ends: [...ends.keys()].sort(), settled: [...settled.keys()].sort() };
}

/** All that may become of an order, and all that a person may decide about one. */
export const EVERYTHING = {
  ends: ['cancelled', 'delivered', 'lost', 'rejected'],
  settled: [
    'amend_unanswered written_off',
    ...['cancel_unanswered', 'capture_refused', 'capture_unanswered'].flatMap(otherwise),
    'deliver_unanswered done_elsewhere',
    ...['refund_refused', 'refund_unanswered', 'void_refused', 'void_unanswered'].flatMap(otherwise),
  ],
};

function otherwise(problem: string): string[] {
  return [`${problem} done_elsewhere`, `${problem} written_off`];
}
