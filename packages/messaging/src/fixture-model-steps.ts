import fc from 'fast-check';

/** One thing that happens. What comes after it does not wait for it to end, where it takes time. */
export type Step =
  /** A transaction with a change and a message for each of the keys; `cut`: its commit is never answered. */
  | { do: 'write'; keys: string[]; fault: 'none' | 'rolled back' | 'cut'; delayed: boolean }
  /** What the next publishes come to: stored, stored but not answered, neither. */
  | { do: 'publishes'; come: ('taken' | 'unanswered' | 'not taken')[] }
  /** A relay loses its session, or dies with all that it knows. */
  | { do: 'end relay'; relay: number; how: 'session' | 'process' }
  /** The next removal of what was acknowledged is done, and not answered. */
  | { do: 'cut removal' }
  /** The broker delivers some of what it has, at once, maybe not for the first time. */
  | { do: 'deliver'; to: number; picks: number[]; fault: 'none' | 'not now' | 'connection lost' | 'cut' }
  /** The broker has lost some of what it acknowledged, before that receiver got it. */
  | { do: 'lose'; to: number; picks: number[] }
  /** A receiver dies in whatever it is doing, and starts anew. */
  | { do: 'end receiver'; to: number }
  /** A while, or until the broker has so many messages. */
  | { do: 'wait'; stored?: number };

const to = fc.nat(1);
const picks = fc.array(fc.nat(999), { minLength: 1, maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      keys: fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 4 }),
      fault: fc.constantFrom(
        'none' as const,
        'none' as const,
        'none' as const,
        'rolled back' as const,
        'cut' as const,
      ),
      delayed: fc.nat(5).map((n) => n === 0),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('publishes' as const),
      come: fc.array(fc.constantFrom('taken' as const, 'unanswered' as const, 'not taken' as const), {
        maxLength: 6,
      }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('end relay' as const),
      relay: fc.nat(1),
      how: fc.constantFrom('session' as const, 'process' as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'cut removal' as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      to,
      picks,
      fault: fc.constantFrom(
        'none' as const,
        'none' as const,
        'not now' as const,
        'connection lost' as const,
        'cut' as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lose' as const), to, picks }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end receiver' as const), to }) },
  { weight: 4, arbitrary: fc.constant({ do: 'wait' as const }) },
);
export const steps = fc.array(step, { minLength: 5, maxLength: 40, size: 'max' });
