import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { createSettled } from './floors.ts';

type Op = { op: 'begin' | 'id' | 'end' | 'ask' | 'answer'; nth: number };

const operation: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('begin', 'id', 'end'), nth: fc.nat(7) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('ask', 'answer'), nth: fc.constant(0) }) },
);
const schedule = fc.array(operation, { minLength: 10, maxLength: 200 });

interface Writer {
  name: string;
  ids: bigint[];
}

/**
 * Plays transactions that lock the table, take ids and end, and somebody who looks: at the last id, and at who is writing, which are two
 * statements with anything between them. `swap` asks in the wrong order, `blind` sees no writers.
 */
function play(ops: Op[], wrong?: 'swap' | 'blind'): void {
  const settled = createSettled();
  const writers: Writer[] = [];
  let lastId = 0n;
  let names = 0;
  let first: { id: bigint; seen: Writer[] } | undefined;
  let floor = 0n;
  const look = () => ({ id: lastId, seen: writers.map((writer) => ({ ...writer })) });

  for (const { op, nth } of ops) {
    const writer = writers[nth % Math.max(1, writers.length)];
    if (op === 'begin') {
      names += 1;
      writers.push({ name: `w${names}`, ids: [] });
    } else if (op === 'id' && writer) {
      lastId += 1n;
      expect(lastId, 'an id below the floor is given out').toBeGreaterThan(floor);
      writer.ids.push(lastId);
    } else if (op === 'end' && writer) {
      writers.splice(writers.indexOf(writer), 1);
    } else if (op === 'ask') {
      first ??= look();
    } else if (op === 'answer' && first) {
      const second = look();
      const [{ id }, { seen }] = wrong === 'swap' ? [second, first] : [first, second];
      const names = new Set(wrong === 'blind' ? [] : seen.map(({ name }) => name));
      first = undefined;
      floor = settled.look(id, names) ?? 0n;
      for (const { ids } of writers)
        for (const open of ids) expect(open, 'not committed, and below the floor').toBeGreaterThan(floor);
    }
  }
}

describe('what is settled', () => {
  test('no transaction that is under way, or comes later, has an id in it', () => {
    fc.assert(
      fc.property(schedule, (ops) => play(ops)),
      { seed, numRuns: 3000 },
    );
  });

  test('grows as soon as those have ended who were writing, whoever writes now', () => {
    const settled = createSettled();
    expect(settled.look(10n, new Set(['a', 'b']))).toBeUndefined();
    expect(settled.look(20n, new Set(['b', 'c']))).toBeUndefined();
    expect(settled.look(30n, new Set(['c', 'd']))).toBe(10n);
    expect(settled.look(40n, new Set(['e']))).toBe(30n);
    expect(settled.look(50n, new Set())).toBe(50n);
  });

  test.each(['swap', 'blind'] as const)('control: %s', (wrong) => {
    const all = () =>
      fc.assert(
        fc.property(schedule, (ops) => play(ops, wrong)),
        { seed, numRuns: 3000 },
      );
    expect(all).toThrow(/Property failed/);
  });
});
