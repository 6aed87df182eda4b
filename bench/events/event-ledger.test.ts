import { expect, test } from 'vitest';
import { faultsOf } from './event-ledger.ts';

const exact = { events: 100, ids: 100, numbers: 100, gaps: 0, heads: 0, disorder: 0 };

test('an exact ledger has no faults', () => {
  expect(faultsOf(exact, 100)).toEqual([]);
});

test('what is lost, twice, strange or out of order is told', () => {
  expect(faultsOf({ ...exact, events: 98, ids: 98, numbers: 97 }, 100)).toEqual([
    '2 events lost',
    '1 events more than once',
  ]);
  expect(faultsOf({ ...exact, events: 101 }, 100)).toContain('1 events that nobody wrote');
  expect(faultsOf({ ...exact, gaps: 1, heads: 2, disorder: 3 }, 100)).toEqual([
    '1 streams with a gap',
    '2 streams with another version than their last event',
    '3 events out of order',
  ]);
});
