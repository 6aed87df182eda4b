import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { partAt, tableRow } from './fixture-table.ts';
import { createLocalSlots, type LocalSlots } from './local-slots.ts';
import type { OutboxMessage } from './relay-queue.ts';
import type { SlotPart } from './slot-read.ts';

const message = (id: number, key: string, keySeq: number, slot = 0) => ({
  ...tableRow(id, key, keySeq, { topic: 'self', slot }),
  eventId: `${key}-${keySeq}`,
});

const idsOf = (taken: ReturnType<LocalSlots['take']>) => taken?.map(({ eventId }) => eventId);

/** Reads all of these rows that are asked for. True when this ended a trouble. */
function read(
  slots: LocalSlots,
  rows: OutboxMessage[],
  now: number,
  o: { owned?: number[]; step?: number; ms?: number } = {},
): boolean {
  const { owned = [0], step = 2000, ms = 1 } = o;
  const asked = slots.wanted(owned, now);
  const without = slots.excluded();
  const takes = (row: OutboxMessage) => row.msgKey !== 'held' && !without.includes(row.msgKey);
  const parts = [...asked].map(
    ([slot, after]) => [slot, partAt(rows, { slot, after }, takes, { limit: 100, step })] as const,
  );
  return slots.offer(asked, new Map(parts), ms);
}

describe('a slot', () => {
  test('is in one transaction at a time, with its messages in the order of their ids', () => {
    const slots = createLocalSlots();
    read(slots, [message(1, 'a', 1), message(2, 'b', 1), message(3, 'a', 2)], 0);
    const taken = slots.take(false);
    expect(idsOf(taken)).toEqual(['a-1', 'b-1', 'a-2']);
    expect(slots.take(false)).toBeUndefined();
    expect(slots.isBusy(0)).toBe(true);
    slots.handled(taken ?? [], 2, 1);
    expect(idsOf(slots.take(false))).toEqual(['a-2']);
  });

  test('shares a transaction with others while handlers are fast, and has its own when they are slow', () => {
    const slots = createLocalSlots();
    const three = [message(1, 'a', 1, 0), message(2, 'b', 1, 1), message(3, 'c', 1, 2)];
    read(slots, three, 0, { owned: [0, 1, 2] });
    const together = slots.take(false);
    expect(idsOf(together)?.toSorted()).toEqual(['a-1', 'b-1', 'c-1']);
    slots.handled(together ?? [], 3, 300);
    read(slots, [message(4, 'a', 2, 0), message(5, 'b', 2, 1), message(6, 'c', 2, 2)], 30, {
      owned: [0, 1, 2],
    });
    const each = [slots.take(false), slots.take(true), slots.take(true)].map((taken) => idsOf(taken));
    expect(each.flat().toSorted()).toEqual(['a-2', 'b-2', 'c-2']);
    expect(each.map((ids) => ids?.length)).toEqual([1, 1, 1]);
  });

  test('with little to do waits while another transaction is under way', () => {
    const slots = createLocalSlots();
    read(slots, [message(1, 'a', 1, 0)], 0, { owned: [0, 1] });
    const first = slots.take(false) ?? [];
    read(slots, [message(2, 'b', 1, 1)], 30, { owned: [0, 1] });
    expect(slots.take(true)).toBeUndefined();
    slots.handled(first, 1, 1);
    expect(idsOf(slots.take(false))).toEqual(['b-1']);
  });

  test('after a failure goes on with what was before it, then with the one that failed alone', () => {
    const slots = createLocalSlots();
    read(slots, [message(1, 'a', 1), message(2, 'b', 1), message(3, 'c', 1), message(4, 'd', 1, 1)], 0, {
      owned: [0, 1],
    });
    const all = slots.take(false) ?? [];
    expect(idsOf(all)).toEqual(['a-1', 'b-1', 'c-1', 'd-1']);
    slots.split(all, 1);
    expect(idsOf(slots.take(false))).toEqual(['d-1']);
    const before = slots.take(false) ?? [];
    expect(idsOf(before)).toEqual(['a-1']);
    slots.handled(before, 1, 1);
    const again = slots.take(false) ?? [];
    expect(idsOf(again)).toEqual(['b-1', 'c-1']);
    slots.split(again, 0);
    expect(idsOf(slots.take(false))).toEqual(['b-1']);
  });

  test('has its turn, in whatever order the slots were won', () => {
    const slots = createLocalSlots();
    const rows = Array.from({ length: 40 }, (_, i) => message(i + 1, `k${i}`, 1, i % 4));
    read(slots, rows, 0, { owned: [2, 3] });
    read(slots, rows, 1, { owned: [2, 3, 0, 1] });
    const turns: (number | undefined)[] = [];
    while (turns.length < 9) {
      const taken = slots.take(false) ?? [];
      turns.push(taken[0]?.slot);
      slots.handled(taken, 1, 300); // so slow that each has its own
    }
    expect(new Set(turns.slice(-4))).toEqual(new Set([0, 1, 2, 3]));
  });

  test('that has too much for the transaction of others is not passed over again and again', () => {
    const slots = createLocalSlots();
    const owned = [0, 1, 2, 3];
    const many = Array.from({ length: 100 }, (_, i) => message(i + 1, `many${i}`, 1, 1));
    read(slots, many, 0, { owned });
    for (let n = 0; n < 30; n++) slots.handled((slots.take(false) ?? []).slice(0, 1), 1, 2.5); // two of them fit
    const left = many.slice(30);
    let id = 1000;
    for (let n = 0; n < 20; n++) {
      const few = (n % 2 ? [0, 2] : [3]).map((slot) => message(++id, `few${id}`, 1, slot));
      read(slots, [...left, ...few], 30 * n, { owned });
      const taken = slots.take(false) ?? [];
      if (taken[0]?.slot === 1) return;
      slots.handled(taken, taken.length, 2.5 * taken.length);
    }
    expect.unreachable('slot 1 had no turn');
  });

  test('that is to be given up is not begun with again', () => {
    const slots = createLocalSlots();
    read(slots, [message(1, 'a', 1), message(2, 'b', 1), message(3, 'c', 1, 1)], 0, { owned: [0, 1] });
    const taken = slots.take(false) ?? [];
    slots.leave(0);
    slots.handled(taken, 1, 1); // of slot 0 a message is left
    expect(idsOf(slots.take(false))).toEqual(['c-1']);
    slots.drop(0);
    read(slots, [message(2, 'b', 1)], 1000);
    expect(idsOf(slots.take(false)), 'won again').toEqual(['b-1']);
  });

  test('of a transaction that failed as a whole is halved until one is left', () => {
    const slots = createLocalSlots();
    read(
      slots,
      [1, 2, 3, 4].map((n) => message(n, `k${n}`, 1)),
      0,
    );
    const sizes: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      const taken = slots.take(false) ?? [];
      sizes.push(taken.length);
      slots.split(taken, taken.length);
    }
    expect(sizes).toEqual([4, 2, 1]);
  });

  test('keeps a failing key out until its time, and tries its first message alone then', () => {
    const slots = createLocalSlots();
    const rows = [message(1, 'bad', 1), message(2, 'good', 1), message(3, 'bad', 2), message(4, 'good', 2)];
    read(slots, rows, 0);
    slots.split(slots.take(false) ?? [], 0);
    slots.take(false);
    expect(slots.failed(rows[0] as OutboxMessage, 0, 1, 'no')).toMatchObject({ failures: 1, dueAt: 200 });
    expect(slots.excluded()).toEqual(['bad']);
    const good = slots.take(false) ?? [];
    expect(idsOf(good)).toEqual(['good-1', 'good-2']);
    slots.handled(good, 2, 1);
    expect(slots.readAt()).toBe(200);
    read(slots, rows.slice(0, 1).concat(rows.slice(2, 3)), 200);
    const again = slots.take(false) ?? [];
    expect(idsOf(again)).toEqual(['bad-1']);
    expect(slots.handled(again, 1, 1)).toBe(true);
    expect(idsOf(slots.take(false))).toEqual(['bad-2']);
    expect(slots.troubles()).toEqual([]);
  });
});

test('what comes behind a dead letter that holds its key is not handled', () => {
  const slots = createLocalSlots();
  read(slots, [message(1, 'a', 1), message(2, 'a', 2), message(3, 'b', 1)], 1000);
  slots.split(slots.take(false) ?? [], 0);
  slots.heldBy((slots.take(false) as [OutboxMessage])[0], 1);
  expect(idsOf(slots.take(false))).toEqual(['b-1']);
});

test.each(['failed', 'became a dead letter'])(
  'what comes behind a message that %s is not handled before what is between, when its key is released in the middle of a sweep that has shown it before',
  (what) => {
    const slots = createLocalSlots();
    const held = Array.from({ length: 2000 }, (_, i) => message(i + 1, 'held', i + 1));
    const many = (name: string, id: number) =>
      Array.from({ length: 250 }, (_, i) => message(id + i, `${name}${i}`, 1));
    let rows = [
      ...held,
      message(2999, 'k', 5),
      message(3000, 'k', 6),
      ...many('b', 3001),
      message(4000, 'k', 7),
    ];
    const handled: (string | undefined)[] = [];
    const handle = () => {
      const taken = slots.take(false) ?? [];
      rows = rows.filter((row) => !taken.includes(row));
      handled.push(...taken.map(({ msgKey }) => msgKey));
      slots.handled(taken, taken.length, 1);
    };
    for (const now of [1000, 1001, 1002, 1003]) {
      read(slots, rows, now);
      handle();
    }
    rows = [...rows, ...many('c', 3500)].sort((a, b) => Number(a.id - b.id)); // what was doubted, all of k, is still there
    for (const now of [1100, 1101]) read(slots, rows, now, { ms: 100 });
    slots.split(slots.take(false) ?? [], 0);
    const [first] = slots.take(false) as [OutboxMessage];
    if (what === 'failed') slots.failed(first, 1110, 1, 'no');
    else slots.heldBy(first, 1); // and somebody discards it at once
    rows = rows.filter((row) => row !== first || what === 'failed');
    handle();
    for (const now of [1320, 1330, 1340]) {
      read(slots, rows, now, { ms: 100 }); // k is due again, the next sweep is not
      handle();
    }
    expect(handled.filter((key) => !/^[bc]/.test(key ?? ''))).toEqual([]);
    expect(handled.length).toBe(500);
  },
);

test('a slot that is given up has no failing keys any more', () => {
  const slots = createLocalSlots();
  read(slots, [message(1, 'a', 1)], 1000);
  slots.failed((slots.take(false) as [OutboxMessage])[0], 1000, 1, 'no');
  expect([slots.troubles().length, slots.excluded()]).toEqual([1, ['a']]);
  slots.drop(0);
  expect([slots.troubles(), slots.excluded()]).toEqual([[], []]);
});

test('a lower id that is committed late is found by looking back, before the next sweep', () => {
  const slots = createLocalSlots();
  read(slots, [message(1, 'a', 1)], 1000);
  slots.handled(slots.take(false) ?? [], 1, 1);
  for (let second = 1; second <= 3; second++) {
    slots.lookBack();
    read(slots, [message(10 * second, `b${second}`, 1)], 1000 + second);
    slots.handled(slots.take(false) ?? [], 1, 1);
  }
  const late = message(5, 'late', 1);
  slots.lookBack();
  expect(slots.readAt()).toBe(0);
  read(slots, [late], 1004);
  const found = slots.take(false) ?? [];
  expect(idsOf(found)).toEqual(['late-1']);
  slots.handled(found, 1, 1);
  expect(slots.wanted([0], 1005).get(0), 'once, then on from where it was').toBe(30n);
});

test('of what is doubted no more than two thousand rows are read before the next sweep', () => {
  const slots = createLocalSlots();
  const held = Array.from({ length: 2500 }, (_, i) => message(i + 1, 'held', i + 1));
  const unknown = Array.from({ length: 5000 }, (_, i) => message(3000 + i, `k${i}`, 7));
  let last = 0n;
  for (let i = 0; i < 60; i++) {
    const asked = slots.wanted([0], 1000).get(0);
    if (asked !== undefined) last = asked;
    read(slots, [...held, ...unknown], 1000);
  }
  expect(last).toBe(BigInt(3000 + 1900 - 1));
  expect(slots.readAt()).toBeGreaterThan(1000); // the next sweep; not at once, for nothing
});

type Op =
  | { op: 'write'; key: number }
  | { op: 'commit' | 'work' | 'fail' | 'split' | 'steal'; nth: number }
  | { op: 'read-begins' | 'read-ends' | 'sweep' | 'leave'; nth: number };

const nth = fc.nat(7);
const of = <T extends string>(...ops: T[]) => fc.record({ op: fc.constantFrom(...ops), nth });
const operation: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('write' as const), key: fc.nat(3) }) },
  { weight: 4, arbitrary: of('commit') },
  { weight: 5, arbitrary: of('read-begins', 'read-ends') },
  { weight: 4, arbitrary: of('work') },
  { weight: 1, arbitrary: of('fail', 'split', 'steal', 'sweep', 'leave') },
);

/**
 * Plays the operations on a table of two slots, then lets everything end well; returns what was handled, in order. A `steal` is
 * another worker that handles the first message of a key, `leave` gives a slot up and wins it again, and `held` rows are behind a dead letter. Rows that are gone when a transaction ends undo it, as the count does.
 */
function play(ops: Op[], { held = 0, believe = false } = {}): string[] {
  const slots = createLocalSlots();
  const table = new Map<bigint, OutboxMessage>();
  const uncommitted: OutboxMessage[] = [];
  const numbers = new Map<string, number>();
  const handled: string[] = [];
  const written: string[] = [];
  let reading: { asked: Map<number, bigint>; parts: Map<number, SlotPart> } | undefined;
  let lastId = 0;
  let now = 0;
  for (let i = 0; i < held; i++) {
    lastId += 1;
    table.set(BigInt(lastId), message(lastId, 'held', i + 1, i % 2));
  }

  const apply = (messages: readonly OutboxMessage[]) => {
    for (const { id, eventId } of messages) {
      table.delete(id);
      handled.push(eventId);
    }
  };
  const inOrder = () => [...table.values()].sort((a, b) => Number(a.id - b.id));

  const step = (o: Op) => {
    now += 10;
    switch (o.op) {
      case 'write': {
        const key = `k${o.key}`;
        if (uncommitted.some((m) => m.msgKey === key)) return; // would wait for the counter's row
        const number = (numbers.get(key) ?? 0) + 1;
        numbers.set(key, number);
        lastId += 1;
        const m = message(lastId, key, number, o.key % 2);
        written.push(m.eventId);
        uncommitted.push(m);
        return;
      }
      case 'commit': {
        const [m] = uncommitted.splice(o.nth % Math.max(1, uncommitted.length), 1);
        if (m) table.set(m.id, m);
        return;
      }
      case 'sweep':
        return slots.rewindAll();
      case 'leave':
        if (!reading && !slots.isBusy(o.nth % 2)) slots.drop(o.nth % 2);
        return;
      case 'read-begins': {
        if (reading) return;
        const asked = slots.wanted([0, 1], now);
        const without = slots.excluded();
        const takes = (m: OutboxMessage) => m.msgKey !== 'held' && !without.includes(m.msgKey);
        const parts = [...asked].map(
          ([slot, after]) =>
            [slot, partAt(table.values(), { slot, after }, takes, { limit: 3, step: 4 })] as const,
        );
        reading = { asked, parts: new Map(parts) };
        return;
      }
      case 'read-ends': {
        if (!reading) return;
        const asked = [...reading.asked.keys()].map((slot) => [slot, 0n] as const);
        slots.offer(believe ? new Map(asked) : reading.asked, reading.parts, 1);
        reading = undefined;
        return;
      }
      case 'steal': {
        const first = inOrder().find((m) => m.msgKey !== 'held');
        if (first) apply([first]);
        return;
      }
      case 'work':
      case 'fail':
      case 'split': {
        const taken = slots.take(false);
        if (!taken) return;
        const [first] = taken as [OutboxMessage];
        if (o.op === 'split' && taken.length > 1) return slots.split(taken, o.nth % (taken.length + 1));
        if (o.op === 'fail' && taken.length === 1) return void slots.failed(first, now, 1, 'no');
        if (taken.some(({ id }) => !table.has(id))) return slots.lost(taken);
        const count = Math.min(taken.length, 1 + o.nth);
        apply(taken.slice(0, count));
        slots.handled(taken, count, 1);
      }
    }
  };

  for (const o of ops) step(o);
  for (let i = 0; i < 300 && (uncommitted.length > 0 || table.size > held); i++) {
    for (const op of ['commit', 'read-ends', 'sweep', 'read-begins', 'read-ends', 'work'] as const)
      step({ op, nth: 0 });
    now += 1000;
  }
  expect(handled.toSorted(), 'each once').toEqual(written.toSorted());
  return handled;
}

function expectOrder(handled: string[]): void {
  const next = new Map<string, number>();
  for (const id of handled) {
    const [key, number] = id.split('-') as [string, string];
    expect(Number(number), id).toBe((next.get(key) ?? 0) + 1);
    next.set(key, Number(number));
  }
}

describe('whatever happens', () => {
  test('each message is handled once, and each key in its order', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 10, maxLength: 150 }), (ops) =>
        expectOrder(play(ops, { held: 12 })),
      ),
      { seed, numRuns: 4000 },
    );
  });

  test('control: believing every read breaks the order when a lower id is committed late', () => {
    const at = (op: Exclude<Op['op'], 'write'>, n = 0) => ({ op, nth: n }) as Op;
    const read = [at('read-begins'), at('read-ends'), at('work', 7)];
    const lateCommit: Op[] = [
      ...[{ op: 'write' as const, key: 0 }, { op: 'write' as const, key: 2 }, at('commit', 1), ...read],
      ...[at('commit'), { op: 'write' as const, key: 0 }, at('commit'), ...read],
    ];
    expectOrder(play(lateCommit));
    expect(() => expectOrder(play(lateCommit, { believe: true }))).toThrow('k0-2');
  });
});

test('what another owner took is read from the start, however soon: no later message of a key is taken for the next', () => {
  const slots = createLocalSlots();
  read(slots, [message(1, 'a', 1), message(2, 'a', 2), message(3, 'a', 3)], 1000);
  slots.lost(slots.take(false) ?? []); // the other has committed the first; 2 and 3 are still there
  read(slots, [message(2, 'a', 2), message(3, 'a', 3), message(4, 'a', 4)], 1005);
  expect(idsOf(slots.take(false))).toEqual(['a-2', 'a-3', 'a-4']);
});

describe('behind more rows of a held key than a read passes', () => {
  const held = Array.from({ length: 2500 }, (_, i) => message(i + 1, 'held', i + 1));
  const k = [1, 2, 3].map((n) => message(3000 + n, 'k', n));

  /** What is taken first, when it is read again and again. */
  function first(slots: LocalSlots, rows: OutboxMessage[]): string[] | undefined {
    for (let now = 1005; now < 1200; now += 5) {
      read(slots, [...held, ...rows], now);
      const taken = slots.take(false);
      if (taken) return idsOf(taken);
    }
    return undefined;
  }

  function begun(): LocalSlots {
    const slots = createLocalSlots();
    for (const now of [1000, 1001]) read(slots, [...held, ...k.slice(0, 2)], now);
    return slots;
  }

  test('what another owner took leaves no number that a later message could follow', () => {
    const slots = begun();
    const taken = slots.take(false) ?? [];
    expect(idsOf(taken)).toEqual(['k-1', 'k-2']);
    slots.lost(taken); // the first is gone, the second is not handled, a third was committed
    expect(first(slots, k.slice(1))).toEqual(['k-2', 'k-3']);
  });

  test('nor does what was read of a slot that was left and won again', () => {
    const slots = begun();
    slots.drop(0);
    expect(first(slots, k)).toEqual(['k-1', 'k-2', 'k-3']);
  });

  test('a message with a number that nobody knows is handled, however often another key fails meanwhile', () => {
    const slots = createLocalSlots();
    const rows = [...held.slice(0, 2000).map((row) => ({ ...row, msgKey: 'fails' })), message(3000, 'k', 57)];
    // A sweep takes longer than the 5 s in which the other is tried again.
    for (let now = 1000; now < 60_000; now += 6) {
      read(slots, rows, now, { step: 2 });
      for (let taken = slots.take(false); taken; taken = slots.take(false)) {
        if (taken[0]?.msgKey === 'k') return;
        if (taken.length > 1) slots.split(taken, 0);
        else slots.failed(taken[0] as OutboxMessage, now, 1, 'no');
      }
    }
    expect.unreachable('k was not handled');
  });
});

describe('keys that fail', () => {
  /** Of one key, so that what is behind them is not met by the first read of a sweep. */
  const moreBadThanARead = () => Array.from({ length: 2100 }, (_, i) => message(i + 1, 'bad', i + 1));

  interface Try {
    key: string;
    at: number;
    failed: boolean;
  }

  /** Plays a worker of one slot with a clock of its own: it reads when it is told of something, when it is due, and once a second from the start. */
  function openWorker(o: { triesMs: number; handlesMs?: number; fails: (key: string) => boolean }) {
    const slots = createLocalSlots();
    const tries: Try[] = [];
    const isLetIn = (key: string) => !slots.excluded().includes(key);
    /** `isFull`: all its transactions are other slots'. */
    const worker = {
      ...o,
      ...{ rows: [] as OutboxMessage[], now: 0, reads: 0, isFull: false },
      ...{ tries, isLetIn, run, write },
    };
    let sweepAt = 0;
    let isTold = false;

    function write(...rows: OutboxMessage[]): void {
      worker.rows.push(...rows);
      isTold = true;
    }

    function work(taken: OutboxMessage[]): void {
      const beganAt = worker.now;
      let count = 0;
      for (; count < taken.length && worker.now - beganAt < 25; count++) {
        const { msgKey: key } = taken[count] as OutboxMessage;
        const failed = worker.fails(key);
        tries.push({ key, at: worker.now, failed });
        worker.now += failed ? worker.triesMs : (worker.handlesMs ?? 1);
        if (!failed) continue;
        if (taken.length > 1) slots.split(taken, count);
        else slots.failed(taken[0] as OutboxMessage, worker.now, worker.now - beganAt, 'no');
        return;
      }
      const done = new Set(taken.slice(0, count));
      worker.rows = worker.rows.filter((row) => !done.has(row));
      slots.handled(taken, count, worker.now - beganAt);
    }

    function run(ms: number, until = () => false): void {
      const end = worker.now + ms;
      const take = () => (worker.isFull ? undefined : slots.take(false));
      while (worker.now < end && !until()) {
        const sweeps = worker.now >= sweepAt;
        if (sweeps) {
          slots.rewindAll();
          sweepAt = worker.now + 1000;
        }
        if (isTold || sweeps || worker.now >= slots.readAt()) {
          isTold = false;
          read(slots, worker.rows, worker.now);
          worker.reads += 1;
          worker.now += 1;
        }
        for (let taken = take(); taken; taken = take()) work(taken);
        if (!until()) worker.now = Math.max(worker.now, Math.min(slots.readAt(), sweepAt, end));
      }
    }
    return worker;
  }

  const FAILING = 300;
  const failing = Array.from({ length: FAILING }, (_, i) => message(i + 1, `bad${i}`, 1));
  const isBad = (key: string) => key.startsWith('bad');

  /** All of them have failed, and a while has passed. */
  function openFailing(triesMs: number): ReturnType<typeof openWorker> {
    const worker = openWorker({ triesMs, fails: isBad });
    worker.write(...failing);
    worker.run(2 * FAILING * triesMs + 10_000);
    worker.tries.length = 0;
    worker.reads = 0;
    return worker;
  }

  /** How long a message waits that is written now. */
  function waits(worker: ReturnType<typeof openWorker>, n = 1): number {
    const writtenAt = worker.now;
    worker.write(message(1000 + n, 'good', n));
    worker.run(300_000, () => worker.rows.every(({ msgKey }) => isBad(msgKey)));
    return worker.now - writtenAt;
  }

  /** What failed has taken of the time since then. */
  function shareOf({ tries, triesMs, now }: ReturnType<typeof openWorker>, from: number): number {
    const failed = tries.filter((tried) => tried.failed && tried.at >= from);
    return (failed.length * triesMs) / (now - from);
  }

  test.each([100, 30])('when many begin to, %d ms each, nothing waits behind them for long', (triesMs) => {
    const worker = openWorker({ triesMs, fails: isBad });
    worker.write(...failing);
    // Each is found out once among others and once alone; until then nobody knows.
    expect(waits(worker)).toBeLessThan(2 * FAILING * triesMs + 3000);
  });

  test.each([100, 30])(
    'many, %d ms each, take half of the time at most, and each has its turn',
    (triesMs) => {
      const worker = openFailing(triesMs);
      const from = worker.now;
      for (let n = 1; n <= 200; n++) {
        expect(waits(worker, n), `good-${n}`).toBeLessThan(110 + triesMs);
        worker.run(1000);
      }
      expect(shareOf(worker, from)).toBeLessThan(0.52);
      const failed = worker.tries.filter((tried) => tried.failed);
      for (const { msgKey } of failing) {
        const times = [from, ...failed.filter(({ key }) => key === msgKey).map(({ at }) => at), worker.now];
        const apart = times.slice(1).map((at, n) => at - (times[n] as number));
        expect(Math.max(...apart), msgKey).toBeLessThan(2.2 * FAILING * triesMs);
      }
      expect(worker.reads / (worker.now - from)).toBeLessThan(1 / 20); // which is how far two reads from the start are apart
    },
  );

  test('many that were fast and now take long leave the slot to others after the first of them', () => {
    const worker = openFailing(1);
    worker.now += 6000; // all are due
    worker.triesMs = 1000;
    const from = worker.now;
    expect(waits(worker)).toBeLessThan(1200);
    worker.run(60_000);
    expect(shareOf(worker, from)).toBeLessThan(0.52);
  });

  test('many that are due while the slot waits for a transaction are not let in all the same', () => {
    const worker = openFailing(1);
    worker.isFull = true;
    const before = worker.reads;
    worker.run(6000);
    expect(worker.reads - before, 'and it is not read anew for each of them').toBeLessThan(30);
    worker.isFull = false;
    worker.triesMs = 1000;
    expect(waits(worker)).toBeLessThan(1200);
  });

  test('many are handled soon when they can be', () => {
    const worker = openFailing(100);
    const from = worker.now;
    worker.fails = () => false;
    worker.run(60_000, () => worker.rows.length === 0);
    expect(worker.now - from).toBeLessThan(5500); // the longest that one of them waits by itself, and some
    expect(worker.tries.filter(({ at }) => at < from + 1000).length).toBeGreaterThan(FAILING / 2);
  });

  test('those that are gone from the table take the place of none that is there', () => {
    const worker = openFailing(100);
    worker.rows = worker.rows.slice(200);
    const left = worker.rows.map(({ msgKey }) => msgKey);
    worker.run(60_000);
    expect(new Set(worker.tries.map(({ key }) => key))).toEqual(new Set(left));
    worker.fails = () => false;
    worker.run(5500);
    expect(worker.rows).toEqual([]);
  });

  test('few are tried each at its own times', () => {
    const worker = openWorker({ triesMs: 20, fails: isBad });
    const few = failing.slice(0, 3);
    for (const row of few) {
      worker.write(row);
      worker.run(2500);
    }
    worker.run(20_000);
    for (const { msgKey } of few) {
      const began = worker.tries.filter(({ key }) => key === msgKey).map(({ at }) => at);
      const waited = began.slice(1).map((at, n) => at - (began[n] as number) - 20);
      [200, 400, 800, 1600, 3200, 5000].forEach((ms, n) => {
        expect(waited[n]).toBeGreaterThanOrEqual(ms);
        expect(waited[n]).toBeLessThan(ms + 100);
      });
    }
  });

  test('one is tried again at its times beside a backlog of its slot, whose reads are never handled to their end', () => {
    const slots = createLocalSlots();
    let rows = [
      message(1, 'bad', 1),
      ...Array.from({ length: 3000 }, (_, i) => message(i + 2, `good${i}`, 1)),
    ];
    const tries: number[] = [];
    // A transaction takes one of its messages in 50 ms, then the transactions are other slots' for a while; there is a sweep each second.
    for (let now = 0; now < 60_000; now += 200) {
      if (now % 1000 === 0) slots.rewindAll();
      read(slots, rows, now);
      const [first, ...others] = slots.take(false) ?? [];
      if (first?.msgKey !== 'bad') {
        rows = rows.filter((row) => row !== first);
        slots.handled([first as OutboxMessage, ...others], 1, 50);
      } else if (others.length > 0) slots.split([first, ...others], 0);
      else {
        tries.push(now);
        slots.failed(first, now, 50, 'no');
      }
    }
    const apart = [...tries.slice(1), 60_000].map((at, n) => at - (tries[n] as number));
    expect(Math.max(...apart)).toBeLessThan(6000);
  });

  test.each([
    { turnMs: 400, count: 12, each: 1 },
    { turnMs: 400, count: 12, each: 100 },
    { turnMs: 60, count: 100, each: 1 },
  ])(
    '$count of a slot whose turn comes every $turnMs ms leave some of the turns to others ($each of each)',
    ({ turnMs, count, each }) => {
      const slots = createLocalSlots();
      const bads = Array.from({ length: count * each }, (_, i) =>
        message(i + 1, `bad${Math.floor(i / each)}`, (i % each) + 1),
      );
      const rows = [...bads, message(10_000, 'good', 1)];
      let now = 0;
      for (let isDone = false; !isDone && now < 60_000; now += turnMs) {
        if (now % 1200 === 0) slots.rewindAll();
        read(slots, rows, now);
        const taken = slots.take(false) ?? [];
        const bad = taken.findIndex(({ msgKey }) => isBad(msgKey));
        if (taken.length > 1) slots.split(taken, Math.max(0, bad));
        else if (bad === 0) slots.failed(taken[0] as OutboxMessage, now + 11, 11, 'no');
        else isDone = taken.length === 1;
      }
      // Each fails twice: once among others, which is undone and tried once more, and once by itself.
      expect(now).toBeLessThan((3 * count + 5) * turnMs);
    },
  );

  test('many whose other messages fill the reads leave the slot to others after the first of them', () => {
    const worker = openWorker({ triesMs: 1, fails: isBad });
    let id = 0;
    for (let k = 0; k < 60; k++) for (let n = 1; n <= 100; n++) worker.write(message(++id, `bad${k}`, n));
    worker.run(60_000);
    worker.now += 6000; // all are due
    worker.triesMs = 1000;
    for (let n = 1; n <= 20; n++) {
      const writtenAt = worker.now;
      worker.write(message(10_000 + n, 'good', n));
      worker.run(300_000, () => worker.rows.every(({ msgKey }) => isBad(msgKey)));
      expect(worker.now - writtenAt, `good-${n}`).toBeLessThan(2500);
      worker.run(1500);
    }
  });

  test('one whose next number nobody knows has its turn beside one that hangs and has more rows than a read passes', () => {
    let chance = 0;
    const worker = openWorker({
      triesMs: 10_000,
      fails: (key) => isBad(key) || (key === 'k' && ++chance === 1),
    });
    worker.write(...moreBadThanARead());
    worker.run(60_000);
    worker.write(message(3000, 'k', 57));
    worker.run(100_000, () => worker.rows.every(({ msgKey }) => isBad(msgKey)));
    expect(worker.rows.filter(({ msgKey }) => msgKey === 'k')).toEqual([]);
    expect(chance).toBe(2);
    worker.tries.length = 0;
    worker.run(60_000);
    expect(worker.tries.length, 'and then the other has them again').toBeGreaterThanOrEqual(2);
  });

  test('nor is it left out by one that hangs when others whose next number nobody knows are before it', () => {
    let chance = 0;
    const worker = openWorker({
      triesMs: 10_000,
      handlesMs: 15,
      fails: (key) => isBad(key) || (key === 'k' && ++chance === 1),
    });
    worker.write(...moreBadThanARead());
    worker.run(60_000);
    worker.write(message(9000, 'k', 57));
    worker.run(100_000, () => chance === 1);
    worker.run(100_000, () => worker.isLetIn('k'));
    worker.write(...Array.from({ length: 650 }, (_, i) => message(3000 + i, `other${i}`, 7)));
    worker.tries.length = 0;
    worker.run(400_000, () => chance === 2);
    expect(worker.tries.filter(({ key, failed }) => failed || key === 'k')).toMatchObject([{ key: 'k' }]);
  });

  test('and when it has had its turn the others have theirs, before a backlog has come to its end', () => {
    let [chance, id] = [0, 3000];
    const worker = openWorker({
      triesMs: 100,
      fails(key) {
        if (key.startsWith('good')) worker.write(message(++id, `good${id}`, 1)); // another one for each
        return isBad(key) || (key === 'k' && ++chance <= 2); // among others, and by itself
      },
    });
    worker.write(...moreBadThanARead());
    worker.write(message(3000, 'k', 57));
    for (let n = 1; n <= 500; n++) worker.write(message(++id, `good${id}`, 1));
    worker.run(100_000, () => chance === 3);
    worker.tries.length = 0;
    worker.run(60_000);
    expect(worker.tries.filter(({ failed }) => failed).length).toBeGreaterThan(5);
  });

  test.each(['hang once each', 'become dead letters that hold their keys'])(
    'one is tried again although there is always another of its slot, and these %s',
    (what) => {
      const slots = createLocalSlots();
      const isOther = ({ msgKey }: OutboxMessage) => msgKey.startsWith('other');
      let rows = [message(1, 'bad', 1)];
      let now = 0;
      const tries: number[] = [];
      for (let n = 2; now < 300_000; n++) {
        rows.push(message(n, `other${n}`, 1)); // while the slot is busy, so that it is never read to its end with nothing in memory
        read(slots, rows, now);
        const taken = slots.take(false) ?? [];
        const [first] = taken as [OutboxMessage];
        if (taken.length > 1) {
          slots.split(taken, 0);
          continue;
        }
        now += 10_000;
        if (!isOther(first)) {
          tries.push(now);
          slots.failed(first, now, 10_000, 'no');
        } else if (what === 'hang once each') {
          slots.failed(first, now, 10_000, 'late');
          rows = rows.filter(({ id }) => id !== first.id);
        } else {
          slots.heldBy(first, 10_000);
          rows = rows.filter(({ id }) => id !== first.id);
        }
      }
      expect(tries.length).toBeGreaterThan(10);
    },
  );

  test('one that hangs does not wait for as long a time of its slot when that has little of it', () => {
    const slots = createLocalSlots();
    let id = 1;
    let rows = [message(1, 'bad', 1)];
    const tries: number[] = [];
    for (let now = 0; now < 300_000; now += 400) {
      while (rows.length < 50) rows.push(message(++id, `good${id}`, 1));
      if (now % 1200 === 0) slots.rewindAll();
      read(slots, rows, now);
      const taken = slots.take(false) ?? [];
      const bad = taken.findIndex(({ msgKey }) => isBad(msgKey));
      if (bad >= 0 && taken.length > 1) slots.split(taken, bad);
      else if (bad === 0) {
        now += 10_000;
        tries.push(now);
        slots.failed(taken[0] as OutboxMessage, now, 10_000, 'no');
      } else {
        const done = taken.slice(0, 10);
        slots.handled(taken, done.length, 10);
        rows = rows.filter((row) => !done.includes(row));
      }
    }
    const apart = tries.slice(3).map((at, n) => at - (tries[n + 2] as number));
    expect(apart.length).toBeGreaterThan(1);
    expect(Math.max(...apart)).toBeLessThan(60_000);
    expect(Math.min(...apart), 'others had a second of it').toBeGreaterThan(40_000);
  });

  test('others have had nothing of a slot by a transaction that came to none of its messages', () => {
    const slots = createLocalSlots();
    const bad = message(1, 'bad', 1);
    for (const now of [0, 1000]) {
      read(slots, [bad], now);
      slots.failed((slots.take(false) as [OutboxMessage])[0], now + 150, 150, 'no');
    }
    const rows = [message(2, 'x', 1), message(3, 'y', 1, 1)];
    read(slots, rows, 1200, { owned: [0, 1] });
    const together = slots.take(false) ?? [];
    expect(idsOf(together)).toEqual(['y-1', 'x-1']);
    slots.handled(together, 1, 150);
    expect(slots.readAt(), 'it may not come before x').toBe(Number.POSITIVE_INFINITY);
    slots.handled(slots.take(false) ?? [], 1, 150);
    expect(slots.readAt()).toBeLessThan(10_000);
  });

  test('one whose message is gone is none any more once the slot was read to its end', () => {
    const slots = createLocalSlots();
    const held = [1, 2, 3].map((n) => message(n, 'held', n));
    const rows = [message(4, 'bad', 1), message(5, 'k', 7)];
    read(slots, rows, 0);
    slots.split(slots.take(false) ?? [], 0);
    for (const row of rows) {
      slots.take(false);
      slots.failed(row, 0, 1, 'no');
    }
    read(slots, rows, 100);
    expect(slots.troubles(), 'both are left out').toHaveLength(2);
    const told: [boolean, string[]][] = [];
    let taken: OutboxMessage[] | undefined;
    // One after the other is let in. What is there of k is doubted, behind more than a read passes.
    for (let now = 300; now < 500 && !taken; now += 10) {
      const ended = read(slots, [...held, ...rows.slice(1)], now, { step: 2 });
      told.push([ended, slots.troubles().map(({ key }) => key)]);
      taken = slots.take(false);
    }
    expect(idsOf(taken)).toEqual(['k-7']);
    expect(told.filter(([ended]) => ended)).toEqual([[true, ['k']]]);
    expect(slots.failuresOf(rows[1] as OutboxMessage)).toBe(1);
  });

  /** 2,100 rows of the key `bad`, which fails, and behind them those of `k`, with numbers that nobody knows, which has failed by chance. */
  function openDoubted(o: { handlesMs: number; many: number; failures?: number }) {
    let chance = 0;
    const { failures = 2 } = o; // among others, and by itself
    const worker = openWorker({
      triesMs: 20,
      handlesMs: o.handlesMs,
      fails: (key) => isBad(key) || (key === 'k' && ++chance <= failures),
    });
    worker.write(...moreBadThanARead());
    for (let n = 1; n <= o.many; n++) worker.write(message(100_000 + n, 'k', 56 + n));
    worker.run(100_000, () => chance === 2);
    worker.run(100_000, () => worker.isLetIn('k'));
    return worker;
  }

  test('one that has many messages whose numbers nobody knows keeps no other out until they are handled', () => {
    const worker = openDoubted({ handlesMs: 100, many: 1500 });
    worker.tries.length = 0;
    worker.run(60_000);
    expect(worker.rows.filter(({ msgKey }) => msgKey === 'k').length, 'it does go on').toBeLessThan(1300);
    // After every hundred that were read; all of them take 150 s.
    expect(worker.tries.filter(({ key }) => isBad(key)).length).toBeGreaterThan(3);
  });

  test('nor does one that fails again', () => {
    const worker = openDoubted({ handlesMs: 1, many: 1, failures: 1000 });
    worker.tries.length = 0;
    worker.run(60_000);
    for (const name of ['bad', 'k'])
      expect(worker.tries.filter(({ key }) => key === name).length, name).toBeGreaterThan(5);
  });

  test('nor does one that a long backlog comes to be before', () => {
    const worker = openDoubted({ handlesMs: 5, many: 1 });
    worker.run(15); // it is doubted
    worker.write(...Array.from({ length: 30_000 }, (_, i) => message(3000 + i, `good${i}`, 1)));
    worker.tries.length = 0;
    worker.run(60_000);
    expect(worker.rows.length, 'it is there').toBeGreaterThan(10_000);
    expect(worker.tries.filter(({ key }) => isBad(key)).length).toBeGreaterThan(5);
  });

  test('one that was doubted and is gone holds up no other', () => {
    const slots = createLocalSlots();
    const held = [1, 2, 3].map((n) => message(n, 'held', n));
    const [bad, k] = [message(4, 'bad', 1), message(5, 'k', 7)];
    read(slots, [bad, k], 0);
    slots.split(slots.take(false) ?? [], 0);
    for (const row of [k, bad]) slots.failed(row, 0, 1, 'no');
    for (let now = 300; !slots.excluded().includes('bad') || slots.excluded().includes('k'); now += 10)
      read(slots, [...held, bad, k], now, { step: 2 });
    for (const now of [400, 401]) read(slots, [...held, bad, k], now, { step: 2 }); // which doubts k
    let taken: OutboxMessage[] | undefined;
    for (let now = 500; now < 1000 && !taken; now += 10) {
      read(slots, [...held, bad], now, { step: 2 });
      taken = slots.take(false);
    }
    expect(idsOf(taken)).toEqual(['bad-1']);
  });

  test('one that hung once is tried again at its time', () => {
    const worker = openWorker({ triesMs: 10_000, fails: isBad });
    worker.write(...failing.slice(0, 1));
    worker.run(10_000);
    worker.fails = () => false;
    worker.run(250);
    expect(worker.rows).toEqual([]);
  });
});
