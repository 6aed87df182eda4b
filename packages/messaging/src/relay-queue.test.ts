import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { partAt, tableRow } from './fixture-table.ts';
import { createRelayCursors } from './relay-cursors.ts';
import { backoffMs, createRelayQueue, type OutboxMessage, type RelayQueue } from './relay-queue.ts';
import type { KeyPlace } from './relay-session.ts';

const message = (id: number, key: string, keySeq: number, topic = 'orders') =>
  tableRow(id, key, keySeq, { topic });

const down = { message: 'away' };
/** Everything is believed of a read that began at the floor, of another one nothing. */
const believing = () => {
  const doubted: string[] = [];
  const distrusted: string[] = [];
  const dropped: number[] = [];
  return {
    isFromFloor: true,
    doubted,
    distrusted,
    dropped,
    believes(): boolean {
      return this.isFromFloor;
    },
    doubt: ({ eventId }: OutboxMessage) => void doubted.push(eventId),
    distrust: ({ eventId }: OutboxMessage) => void distrusted.push(eventId),
    drop: (slot: number) => void dropped.push(slot),
  };
};
const newQueue = (perKey?: number) => createRelayQueue(believing(), perKey);

/** What one read of a key finds in these rows. */
const partOf = (rows: OutboxMessage[], place: KeyPlace) =>
  partAt(rows, place, (m) => m.msgKey === place.key, { limit: 100, step: 2000 });

function refillAll(queue: RelayQueue, rows: OutboxMessage[]): void {
  for (const place of queue.wanted()) queue.refill(place, partOf(rows, place));
}

/** Takes everything that may go now. */
function takeAll(queue: RelayQueue, now = 0): string[] {
  const taken: string[] = [];
  for (let m = queue.next(now); m; m = queue.next(now)) taken.push(m.eventId);
  return taken;
}

test('the bytes of what waits are those of messages that could be sent: the first of a failing key holds up no reading', () => {
  const queue = newQueue();
  const [a, a2, b] = [message(1, 'a', 1), message(2, 'a', 2), message(3, 'b', 1)];
  queue.offer([a, a2, b]);
  expect(queue.sendableBytes()).toBe(300);
  takeAll(queue);
  queue.failed(a, 0, down);
  expect(queue.sendableBytes()).toBe(100); // of b: the second one of a is left to the table
  queue.succeeded(b);
  expect(queue.sendableBytes()).toBe(0);
  takeAll(queue, 1000);
  queue.succeeded(a);
  expect(queue.sendableBytes()).toBe(0);
  const [place] = queue.wanted();
  queue.refill(place as KeyPlace, { rows: [a2], to: a2.id, more: false, inSteps: false });
  takeAll(queue, 1000);
  queue.failed(a2, 1000, down);
  queue.leave(0);
  expect([queue.sendable(), queue.sendableBytes()]).toEqual([0, 0]);
});

describe('one key', () => {
  test('goes one message at a time, in the order of the ids', () => {
    const queue = newQueue();
    const [a, b] = [message(1, 'k', 1), message(2, 'k', 2)];
    queue.offer([a, b]);
    expect(takeAll(queue)).toEqual(['orders-k-1']);
    queue.succeeded(a);
    expect(takeAll(queue)).toEqual(['orders-k-2']);
  });

  test('is not taken a second time while its acknowledged row is still in the table', () => {
    const queue = newQueue();
    const a = message(1, 'k', 1);
    queue.offer([a]);
    queue.next(0);
    queue.succeeded(a);
    queue.offer([a]);
    expect(takeAll(queue)).toEqual([]);
    queue.deleted([a.id]);
    queue.offer([a]); // nobody deleted it after all
    expect(takeAll(queue)).toEqual(['orders-k-1']);
  });

  test('waits longer after each failure, up to 5 s, while others go on', () => {
    expect([1, 2, 3, 4, 5, 6, 60].map(backoffMs)).toEqual([200, 400, 800, 1600, 3200, 5000, 5000]);
    const queue = newQueue();
    const bad = message(1, 'bad', 1);
    queue.offer([bad, message(2, 'bad', 2), message(3, 'good', 1)]);
    queue.next(0);
    queue.failed(bad, 0, { message: 'too big', refused: 'message' });
    expect(takeAll(queue)).toEqual(['orders-good-1']);
    expect(queue.nextDue(0)).toBe(200);
    expect(takeAll(queue, 199)).toEqual([]);
    expect(takeAll(queue, 200)).toEqual(['orders-bad-1']);
    expect(queue.status().failing).toMatchObject([{ key: 'bad', failures: 1, refused: true }]);
    expect(queue.exclusions().keys).toEqual([{ topic: 'orders', key: 'bad' }]);
  });

  test('of which more is in the table than is kept in memory is read on by itself', () => {
    const queue = newQueue();
    const all = Array.from({ length: 120 }, (_, i) => message(i + 1, 'k', i + 1));
    queue.offer(all);
    expect(queue.sendable()).toBe(50);
    expect(queue.exclusions().keys).toEqual([{ topic: 'orders', key: 'k' }]);
    const published: string[] = [];
    while (published.length < 120) {
      for (const place of queue.wanted())
        queue.refill(
          place,
          partAt(all, place, () => true, { limit: 100, step: 10 }),
        );
      const m = queue.next(0) as OutboxMessage;
      published.push(m.keySeq);
      queue.succeeded(m);
    }
    expect(published).toEqual(all.map((m) => m.keySeq));
    expect(queue.exclusions().keys).toEqual([]);
    expect(queue.wantsRewind()).toBe(false);
  });
});

describe('a read that did not begin at the start', () => {
  test('is believed for the next number of a key only', () => {
    const beliefs = { ...believing(), isFromFloor: false };
    const queue = createRelayQueue(beliefs);
    // Row 11 (number 1) was committed after the read had passed id 100; this read shows number 2 alone.
    queue.offer([message(150, 'k', 2)]);
    expect(beliefs.doubted).toEqual(['orders-k-2']);
    expect(takeAll(queue)).toEqual([]);
    beliefs.isFromFloor = true;
    queue.offer([message(11, 'k', 1), message(150, 'k', 2)]);
    expect(takeAll(queue)).toEqual(['orders-k-1']);
  });

  test('is believed when the number before was acknowledged', () => {
    const beliefs = believing();
    const queue = createRelayQueue(beliefs);
    const first = message(1, 'k', 7);
    queue.offer([first]);
    beliefs.isFromFloor = false;
    queue.next(0);
    queue.succeeded(first);
    queue.offer([message(9, 'k', 8), message(10, 'new', 1)]);
    expect(takeAll(queue)).toEqual(['orders-k-8', 'orders-new-1']);
  });
});

describe('a topic on which key after key fails', () => {
  /** So many attempts, each of which fails as soon as it is due; when the last one was. */
  function fail(queue: RelayQueue, attempts: number, from = 0): number {
    let now = from;
    for (let i = 0; i < attempts; i++) {
      now = queue.nextDue(now) ?? now;
      queue.failed(queue.next(now) as OutboxMessage, now, down);
    }
    return now;
  }

  function failing(keys: number) {
    const queue = newQueue();
    queue.offer(Array.from({ length: keys }, (_, i) => message(i + 1, `k${i}`, 1)));
    for (let i = 0; i < 3; i++) queue.failed(queue.next(0) as OutboxMessage, 0, down);
    return queue;
  }

  test('gets one attempt at a time and keeps little in memory', () => {
    const queue = failing(100);
    expect(queue.status().topicsDown).toEqual(['orders']);
    expect(queue.sendable()).toBeLessThanOrEqual(32);
    expect(queue.exclusions().topics).toEqual(['orders']);
    expect(takeAll(queue, 10_000)).toHaveLength(1);
  });

  test('is not taken for one because of keys whose messages are refused, however many', () => {
    const queue = newQueue();
    queue.offer(Array.from({ length: 100 }, (_, i) => message(i + 1, `bad${i}`, 1)));
    for (let i = 0; i < 100; i++)
      queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'too big', refused: 'message' });
    expect(queue.status().topicsDown).toEqual([]);
    expect(queue.exclusions().topics).toEqual([]);
    queue.offer([message(200, 'good', 1), message(201, 'better', 1)]);
    expect(takeAll(queue)).toEqual(['orders-good-1', 'orders-better-1']);
  });

  test('lets others in when those that are kept have failed so often that it may be them', () => {
    const queue = failing(32);
    const soon = fail(queue, 100);
    expect(queue.exclusions().topics).toEqual(['orders']);
    const now = fail(queue, 32 * 8, soon);
    expect(queue.status().topicsDown).toEqual(['orders']);
    expect(queue.exclusions().topics).toEqual([]);
    queue.offer([message(200, 'good', 1)]);
    let next = queue.next(now) as OutboxMessage;
    for (; next.msgKey !== 'good'; next = queue.next(now) as OutboxMessage) queue.failed(next, now, down);
    queue.succeeded(next);
    expect(queue.status().topicsDown).toEqual([]);
  });

  test('is read no further when a thousand keys are stuck', () => {
    const queue = newQueue();
    queue.offer(Array.from({ length: 1000 }, (_, i) => message(i + 1, `bad${i}`, 1)));
    for (let i = 0; i < 1000; i++) {
      expect(queue.exclusions().topics).toEqual([]);
      queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'too big', refused: 'message' });
    }
    expect(queue.exclusions().topics).toEqual(['orders']);
    queue.succeeded(queue.next(1e6) as OutboxMessage);
    expect(queue.exclusions().topics).toEqual([]);
  });

  test('nor when they have 32 MB', () => {
    const queue = newQueue();
    const large = { bytes: 8 * 1024 * 1024 };
    const tooBig = { message: 'too big', refused: 'message' as const };
    for (let i = 1; i <= 4; i++) {
      expect(queue.exclusions().topics).toEqual([]);
      queue.offer([tableRow(i, `bad${i}`, 1, large)]);
      queue.failed(queue.next(0) as OutboxMessage, 0, tooBig);
    }
    expect(queue.exclusions().topics).toEqual(['orders']);
    const first = queue.next(1e6) as OutboxMessage;
    queue.failed(first, 1e6, tooBig); // counted once, however often it fails
    queue.succeeded(queue.next(1e6) as OutboxMessage);
    expect(queue.exclusions().topics).toEqual([]);
  });

  test('is read again when a slot with such keys was given up', () => {
    const queue = newQueue();
    queue.offer(Array.from({ length: 1000 }, (_, i) => message(i + 1, `bad${i}`, 1)));
    for (let i = 0; i < 1000; i++)
      queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'too big', refused: 'message' });
    queue.leave(0);
    expect(queue.exclusions().topics).toEqual([]);
  });

  test('keeps little of large messages, and holds up no reading of others', () => {
    const queue = newQueue();
    const mb = 1024 * 1024;
    queue.offer(Array.from({ length: 12 }, (_, i) => tableRow(i + 1, `k${i}`, 1, { bytes: 2 * mb })));
    expect(queue.sendableBytes()).toBe(24 * mb);
    for (let i = 0; i < 3; i++) queue.failed(queue.next(0) as OutboxMessage, 0, down);
    expect([queue.sendable(), queue.sendableBytes()]).toEqual([0, 0]);
    expect(queue.exclusions().topics, 'what was dropped is not read at once').toEqual(['orders']);
    // Five others are there to show that it is back, and then everything is read again.
    expect(takeAll(queue, 0)).toEqual(['orders-k7-1']);
    queue.succeeded(tableRow(8, 'k7', 1, { bytes: 2 * mb }));
    expect([queue.sendableBytes(), queue.wantsRewind()]).toEqual([2 * 4 * mb, true]);
  });

  test('is read from the start once it is not left out any more, and what was doubted of it meanwhile is not believed', () => {
    const queue = failing(3);
    queue.offer(Array.from({ length: 40 }, (_, i) => message(300 + i, `w${i}`, 1)));
    expect(queue.exclusions().topics).toEqual(['orders']);
    queue.leave(0); // all but what is in flight, so that it is not down any more though nothing of it went through
    queue.exclusions();
    expect(queue.wantsRewind()).toBe(true);
    expect(queue.rewound()).toEqual(['orders']);
    expect([queue.wantsRewind(), queue.rewound()]).toEqual([false, []]);
  });

  test('does not hold up another topic', () => {
    const queue = failing(3);
    queue.offer([message(200, 'x', 1, 'commands.inventory')]);
    expect(takeAll(queue)).toEqual(['commands.inventory-x-1']);
  });

  test('lets a key that is well through, and after its success everything at once', () => {
    const queue = failing(3);
    queue.offer([message(200, 'well', 1)]);
    const [probe] = [queue.next(0) as OutboxMessage];
    expect(probe.msgKey).toBe('well');
    expect(takeAll(queue, 10_000)).toEqual([]);
    queue.succeeded(probe);
    expect(queue.wantsRewind()).toBe(true);
    expect(takeAll(queue, 0)).toHaveLength(3);
  });
});

/** A table as the relay sees it: ids are taken at writing, rows appear at the commit, one writer of a key at a time. */
type Op =
  | { op: 'write'; key: number }
  | { op: 'commit' | 'ack' | 'fail' | 'delete'; nth: number }
  | { op: 'read-begins' | 'read-ends' | 'publish' | 'sweep' | 'restart' | 'leave'; nth: number };

const nth = fc.nat(7);
const operation: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('write' as const), key: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('commit' as const), nth }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom('read-begins' as const, 'read-ends' as const), nth }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('publish' as const), nth }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('ack' as const), nth }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom('fail' as const, 'delete' as const, 'sweep' as const), nth }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('restart' as const, 'leave' as const), nth }) },
);

/**
 * Plays the operations, then lets everything end well; returns what was published, in order. Memory holds two of a key, and a read takes two
 * rows and passes three. The key `bad` has more than that, and fails until the end; a `restart` is another session, which knows no number, and
 * `leave` gives the slot up, which is won again once nothing of it is in flight or to be deleted.
 */
function play(ops: Op[], { bad = 0, believe = false } = {}): string[] {
  const memory = () => {
    const cursors = createRelayCursors(() => 0n);
    const queue = createRelayQueue(believe ? { ...cursors, believes: () => true } : cursors, 2);
    return { cursors, queue };
  };
  let { cursors, queue } = memory();
  const limits = { limit: 2, step: 3 };
  const table = new Map<bigint, OutboxMessage>();
  const uncommitted: OutboxMessage[] = [];
  const inFlight: OutboxMessage[] = [];
  const acked: bigint[] = [];
  const numbers = new Map<string, number>();
  let mends = false;
  const published: string[] = [];
  let reading: (() => void) | undefined;
  let leaving = false;
  let lastId = 0;
  let now = 0;
  const written: OutboxMessage[] = [];

  const commit = (m: OutboxMessage | undefined) => m && table.set(m.id, m);
  const write = (key: string) => {
    // The first ones were sent by a session that is gone.
    const number = (numbers.get(key) ?? 5) + 1;
    numbers.set(key, number);
    lastId += 1;
    const m = message(lastId, key, number);
    written.push(m);
    return m;
  };
  for (let i = 0; i < bad; i++) commit(write('bad'));

  const step = (o: Op) => {
    now += 10;
    switch (o.op) {
      case 'write': {
        const key = `k${o.key}`;
        if (uncommitted.some((m) => m.msgKey === key)) return; // would wait for the counter's row
        uncommitted.push(write(key));
        return;
      }
      case 'commit': {
        const [m] = uncommitted.splice(o.nth % Math.max(1, uncommitted.length), 1);
        commit(m);
        return;
      }
      case 'sweep':
        now += 5000;
        return;
      case 'read-begins': {
        if (reading || leaving) return;
        const [place] = queue.wanted();
        if (place && o.nth % 2 === 1) {
          const isOfKey = (m: OutboxMessage) => m.msgKey === place.key;
          const part = partAt(table.values(), place, isOfKey, limits);
          reading = () => queue.refill(place, part);
          return;
        }
        const { keys, topics } = queue.exclusions();
        if (queue.wantsRewind()) cursors.rewind(queue.rewound());
        const asked = cursors.begin([0], now);
        const takes = (m: OutboxMessage) =>
          !topics.includes(m.topic) && !keys.some(({ key }) => key === m.msgKey);
        const part = partAt(table.values(), { slot: 0, after: asked.get(0) ?? 0n }, takes, limits);
        reading = () => {
          queue.offer(part.rows);
          cursors.end(new Map([[0, part]]), 1, now);
        };
        return;
      }
      case 'read-ends':
        reading?.();
        reading = undefined;
        return;
      case 'publish': {
        const m = queue.next(now);
        if (!m) return;
        expect(
          inFlight.some((x) => x.msgKey === m.msgKey),
          'two of one key in flight',
        ).toBe(false);
        inFlight.push(m);
        published.push(m.eventId);
        return;
      }
      case 'ack':
      case 'fail': {
        const [m] = inFlight.splice(o.nth % Math.max(1, inFlight.length), 1);
        if (!m) return;
        if (o.op === 'fail' || (m.msgKey === 'bad' && !mends)) return queue.failed(m, now, down);
        queue.succeeded(m);
        acked.push(m.id);
        return;
      }
      case 'leave':
        if (reading || leaving) return; // statements go one after the other
        leaving = true;
        return queue.leave(0);
      case 'restart': {
        reading = undefined;
        leaving = false;
        for (const id of acked.splice(0)) table.delete(id);
        inFlight.length = 0;
        ({ cursors, queue } = memory());
        return;
      }
      case 'delete': {
        if (reading) return;
        const ids = acked.splice(0);
        for (const id of ids) table.delete(id);
        queue.deleted(ids);
      }
    }
  };

  const stepAndWin = (o: Op) => {
    step(o);
    if (!leaving || !queue.hasLeft(0) || acked.length > 0) return;
    leaving = false;
    queue.left(0);
  };
  for (const o of ops) stepAndWin(o);
  mends = true;
  for (let i = 0; i < 2000 && (uncommitted.length > 0 || table.size > 0); i++) {
    for (const op of [
      'commit',
      'sweep',
      'read-ends',
      'read-begins',
      'read-ends',
      'publish',
      'ack',
      'delete',
    ] as const)
      stepAndWin({ op, nth: i });
    now += 1000;
  }
  expect(new Set(published), 'lost').toEqual(new Set(written.map((m) => m.eventId)));
  return published;
}

function expectOrderOfFirstAppearances(published: string[]): void {
  const next = new Map<string, number>();
  for (const id of new Set(published)) {
    const [, key, number] = id.split('-') as [string, string, string];
    expect(Number(number), id).toBe((next.get(key) ?? 5) + 1);
    next.set(key, Number(number));
  }
}

describe('whatever happens', () => {
  const ops = fc.array(operation, { minLength: 10, maxLength: 200 });

  test('nothing is lost, and each key appears in its order', () => {
    fc.assert(
      fc.property(ops, (all) => expectOrderOfFirstAppearances(play(all, { bad: 7 }))),
      { seed, numRuns: 3000 },
    );
  });

  test('control: believing every read breaks the order when a lower id is committed late', () => {
    const at = (op: Exclude<Op['op'], 'write'>, nth = 0) => ({ op, nth }) as Op;
    const lateCommit: Op[] = [
      ...[{ op: 'write' as const, key: 0 }, { op: 'write' as const, key: 1 }, at('commit', 1)],
      ...[at('read-begins'), at('read-ends'), at('commit')], // the read has passed the first id, now it appears
      ...[{ op: 'write' as const, key: 0 }, at('commit'), at('read-begins'), at('read-ends')],
      ...[at('publish'), at('publish')],
    ];
    expectOrderOfFirstAppearances(play(lateCommit));
    expect(() => expectOrderOfFirstAppearances(play(lateCommit, { believe: true }))).toThrow('orders-k0-7');
  });
});

test('a key that is dropped from memory when its topic goes down again is not taken up behind what was dropped', () => {
  const cursors = createRelayCursors(() => 0n);
  const queue = createRelayQueue(cursors);
  const refusal = { message: 'too big', refused: 'message' as const };
  let table: OutboxMessage[] = [];
  let lastId = 0;
  let now = 0;
  const write = (key: string, first: number, count = 1) => {
    for (let i = 0; i < count; i++) {
      lastId += 1;
      table.push(message(lastId, key, first + i));
    }
  };
  const read = () => {
    const { keys, topics } = queue.exclusions();
    if (queue.wantsRewind()) cursors.rewind(queue.rewound());
    const after = cursors.begin([0], now).get(0) ?? 0n;
    const out = new Set(keys.map(({ key }) => key));
    const takes = (m: OutboxMessage) => !topics.includes(m.topic) && !out.has(m.msgKey);
    const part = partAt(table, { slot: 0, after }, takes, { limit: 100, step: 2000 });
    now += 3;
    queue.offer(part.rows);
    cursors.end(new Map([[0, part]]), 3, now);
  };
  const take = (count: number) =>
    Array.from({ length: count }, () => queue.next(now)).filter((m) => m !== undefined);
  const acknowledge = (m: OutboxMessage) => {
    queue.succeeded(m);
    table = table.filter((other) => other !== m);
    queue.deleted([m.id]);
  };
  const published: string[] = [];
  const publishAll = () => {
    for (let m = queue.next(now); m; m = queue.next(now)) {
      if (m.msgKey === 'bad') {
        queue.failed(m, now, refusal);
      } else {
        if (m.msgKey === 'k') published.push(m.keySeq);
        acknowledge(m);
      }
    }
  };

  write('bad', 1);
  for (let i = 0; i < 40; i++) write(`p${i}`, 1);
  read();
  const [bad, ...others] = take(16) as [OutboxMessage, ...OutboxMessage[]];
  queue.failed(bad, now, refusal);
  for (const m of others.slice(0, 3)) queue.failed(m, now, down);
  // The topic is down and left out. Written meanwhile: new keys, k from a number that nobody knows, and its last one behind those of `bad`.
  for (let i = 0; i < 20; i++) write(`f${i}`, 1);
  write('k', 7, 20);
  write('bad', 2, 2500);
  write('k', 27);
  now += 1500;
  read();
  others.slice(3).forEach(acknowledge); // it is back in the middle of the sweep, whose next step doubts k-27
  read();
  now += 500;
  publishAll();
  now += 10;
  read(); // the next sweep shows all before k-27
  const flying = take(16);
  for (const m of flying.slice(0, 3)) queue.failed(m, now, down); // and it is down again, and k is dropped
  read();
  now += 300;
  flying.slice(3).forEach(acknowledge);
  for (let i = 0; i < 200 && published.length < 3; i++) {
    publishAll();
    now += 50;
    read();
  }
  expect(published.slice(0, 3)).toEqual(['7', '8', '9']);
});

test('keys that fail are tried once before their time when something of their topic went through, not with each success', () => {
  const queue = newQueue();
  queue.offer([message(1, 'bad', 1)]);
  const attempts: number[] = [];
  for (let now = 0; now < 20_000; now += 100) {
    queue.offer([message(10 + now, `good${now}`, 1)]);
    for (let m = queue.next(now); m; m = queue.next(now)) {
      if (m.msgKey !== 'bad') queue.succeeded(m);
      else {
        attempts.push(now);
        queue.failed(m, now, down);
      }
    }
  }
  expect(attempts.slice(0, 2), 'at once').toEqual([0, 0]);
  expect(attempts.length).toBeLessThan(8 + 2 * (20_000 / 5000) + 2);
});

test('keys that fail by chance are tried again as soon as something of their topic went through', () => {
  const queue = newQueue();
  const chance = fc.sample(fc.integer({ min: 0, max: 99 }), { numRuns: 10_000, seed: 7 });
  let rows: OutboxMessage[] = [];
  const waited: number[] = [];
  let n = 0;
  for (let now = 0; now < 60_000; now += 10) {
    const row = message(now + 1, `k${(now / 10) % 50}`, Math.floor(now / 500) + 1);
    rows.push(row);
    queue.offer([row]);
    refillAll(queue, rows);
    for (let m = queue.next(now); m; m = queue.next(now)) {
      const { id } = m;
      if ((chance[n++ % chance.length] as number) < 30) queue.failed(m, now, down);
      else {
        waited.push(now - (Number(id) - 1));
        queue.succeeded(m);
        rows = rows.filter((other) => other.id !== id);
        queue.deleted([id]);
      }
    }
  }
  expect(rows.length).toBeLessThan(20);
  waited.sort((a, b) => a - b);
  expect(waited[Math.floor(0.99 * waited.length)]).toBeLessThan(200);
});

test('an attempt at its own time is none before it, though something of its topic goes through meanwhile', () => {
  const queue = newQueue();
  queue.offer([message(1, 'bad', 1)]);
  let now = 0;
  for (let i = 0; i < 10; i++) {
    now = queue.nextDue(now) ?? now;
    queue.failed(queue.next(now) as OutboxMessage, now, down);
  }
  const goesThrough = (id: number) => {
    queue.offer([message(id, `good${id}`, 1)]);
    queue.succeeded(queue.next(now) as OutboxMessage);
  };
  now += 5000;
  const tried = queue.next(now) as OutboxMessage;
  goesThrough(2);
  queue.failed(tried, now, down);
  goesThrough(3);
  expect(queue.next(now)?.msgKey).toBe('bad');
});

test('keys whose publishing hangs leave others half of what may be under way', () => {
  const queue = newQueue();
  const [hanging, goods] = [20, 20].map((length, n) =>
    Array.from({ length }, (_, i) => message(100 * n + i + 1, `${n ? 'good' : 'bad'}${i}`, 1)),
  ) as [OutboxMessage[], OutboxMessage[]];
  queue.offer(hanging);
  for (const _ of hanging)
    queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'late', refused: 'message' });
  const flying = Array.from({ length: 16 }, () => queue.next(1000)).filter((m) => m !== undefined);
  expect([flying.length, queue.nextDue(1000)], 'of what has failed').toEqual([8, undefined]);
  queue.offer(goods);
  expect(takeAll(queue, 1000)).toEqual(goods.map(({ eventId }) => eventId));
  queue.failed(flying[0] as OutboxMessage, 1000, down);
  expect(takeAll(queue, 1000), 'one for each that has ended').toEqual(['orders-bad8-1']);
  queue.succeeded(flying[1] as OutboxMessage);
  expect(takeAll(queue, 1000)).toEqual(['orders-bad9-1']);
});

test('and the one attempt of a topic that is down does not wait for these', () => {
  const queue = newQueue();
  const hanging = Array.from({ length: 20 }, (_, i) => message(i + 1, `bad${i}`, 1));
  queue.offer(hanging);
  for (const _ of hanging)
    queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'late', refused: 'message' });
  queue.offer([1, 2, 3].map((n) => message(100 + n, `k${n}`, 1, 'other')));
  for (let n = 1; n <= 3; n++) queue.failed(queue.next(0) as OutboxMessage, 0, down);
  expect(queue.status().topicsDown).toEqual(['other']);
  const taken = takeAll(queue, 1000);
  expect([taken.length, taken.filter((id) => id.startsWith('other')).length]).toEqual([9, 1]);
});

test('nor do topics that are down take all of it, however many, and each has its turn', () => {
  const queue = newQueue();
  const topics = Array.from({ length: 20 }, (_, n) => `t${n}`);
  topics.forEach((topic, n) => {
    queue.offer([1, 2, 3, 4].map((k) => message(10 * n + k, `k${k}`, 1, topic)));
  });
  let now = 0;
  while (queue.status().topicsDown.length < topics.length) {
    const m = queue.next(now);
    if (m) queue.failed(m, now, down);
    else now = queue.nextDue(now) ?? now;
  }
  now += 10_000;
  const flying: OutboxMessage[] = [];
  const tried: string[] = [];
  const fill = () => {
    for (let m = queue.next(now); m; m = queue.next(now)) {
      flying.push(m);
      tried.push(m.topic);
    }
  };
  fill();
  expect(flying).toHaveLength(4);
  queue.offer([message(1000, 'good', 1, 'well')]);
  expect(queue.next(now)?.topic).toBe('well');
  while (tried.length < 40) {
    now += 10_000; // each takes as long
    queue.failed(flying.shift() as OutboxMessage, now, down);
    fill();
  }
  for (const round of [tried.slice(0, 20), tried.slice(20)]) expect(new Set(round).size).toBe(20);
});

test('a key that failed in passing and is refused now says nothing of its topic', () => {
  const queue = newQueue();
  const rows = ['a', 'b', 'c'].map((key, n) => message(n + 1, key, 1)) as [OutboxMessage, ...OutboxMessage[]];
  queue.offer(rows.slice(0, 2));
  for (const row of rows.slice(0, 2)) queue.failed(row, 0, down);
  takeAll(queue, 200);
  queue.failed(rows[0], 200, { message: 'too big', refused: 'message' });
  queue.offer(rows.slice(2));
  queue.failed(queue.next(200) as OutboxMessage, 200, down);
  expect(queue.status().topicsDown).toEqual([]);
});

test.each(['is refused', 'is of a slot that is given up'])(
  'a topic is read again when it is not down any more because one of the keys that showed it %s',
  (what) => {
    const queue = newQueue();
    const rows = ['a', 'b', 'c'].map((key, n) => tableRow(n + 1, key, 1, { slot: n })) as OutboxMessage[];
    queue.offer(rows);
    const [a, b, c] = [queue.next(0), queue.next(0), queue.next(0)] as OutboxMessage[];
    for (const m of [a, b]) queue.failed(m as OutboxMessage, 0, down);
    const again = queue.next(200) as OutboxMessage;
    queue.failed(c as OutboxMessage, 200, down);
    expect([queue.status().topicsDown, queue.wantsRewind()]).toEqual([['orders'], false]);
    if (what === 'is refused') queue.failed(again, 200, { message: 'too big', refused: 'message' });
    else queue.leave(1);
    expect([queue.status().topicsDown, queue.wantsRewind()]).toEqual([[], true]);
    expect(queue.rewound()).toEqual(['orders']);
  },
);

test('many keys that recover at once are left to the next sweep, but for a few that are read on by themselves', () => {
  const beliefs = believing();
  const queue = createRelayQueue(beliefs);
  const rows = Array.from({ length: 100 }, (_, i) => message(i + 1, `k${i}`, 1));
  queue.offer(rows);
  for (const row of rows)
    queue.failed(queue.next(0) as OutboxMessage, 0, { message: row.msgKey, refused: 'message' });
  for (const _ of rows) queue.succeeded(queue.next(1000) as OutboxMessage);
  expect(queue.exclusions().keys).toHaveLength(32);
  expect([queue.wantsRewind(), beliefs.distrusted.length]).toEqual([true, 68]);
  refillAll(queue, []);
  expect(queue.exclusions().keys).toHaveLength(24);
});

describe('a key of which little is left in memory', () => {
  /** One message, and the table has more. */
  function openLow(): RelayQueue {
    const queue = newQueue(4);
    queue.offer([1, 2, 3, 4, 5].map((n) => message(n, 'k', n)));
    for (let n = 1; n <= 3; n++) queue.succeeded(queue.next(0) as OutboxMessage);
    expect(queue.wanted()).toMatchObject([{ key: 'k' }]);
    return queue;
  }

  test('is not read on while it fails', () => {
    const queue = openLow();
    queue.failed(queue.next(0) as OutboxMessage, 0, down);
    expect(queue.wanted()).toEqual([]);
  });

  test('nor while no more is read of its topic', () => {
    const queue = openLow();
    const last = queue.next(0) as OutboxMessage;
    queue.offer(Array.from({ length: 1000 }, (_, i) => message(i + 10, `bad${i}`, 1)));
    for (let i = 0; i < 1000; i++)
      queue.failed(queue.next(0) as OutboxMessage, 0, { message: 'too big', refused: 'message' });
    expect([last.msgKey, queue.exclusions().topics, queue.wanted()]).toEqual(['k', ['orders'], []]);
  });
});

test('a slot that was won again keeps a key that fails, and one that is being left lets it go', () => {
  const beliefs = believing();
  const queue = createRelayQueue(beliefs);
  const row = message(1, 'k', 7);
  queue.offer([row]);
  queue.next(0);
  queue.leave(0);
  queue.failed(row, 0, down);
  expect([queue.hasLeft(0), queue.status().failing]).toEqual([true, []]);
  queue.left(0);
  expect(beliefs.dropped).toEqual([0]);
  queue.offer([row]);
  queue.failed(queue.next(0) as OutboxMessage, 0, down);
  expect([queue.hasLeft(0), queue.status().failing.length]).toEqual([false, 1]);
});

test('a key whose next message is more than a step away is published', () => {
  const queue = newQueue();
  const rows = Array.from({ length: 50 }, (_, i) => message(i + 1, 'k', i + 1));
  queue.offer([...rows, message(51, 'k', 51)]);
  for (let i = 0; i < 5000; i++) rows.push(message(100 + i, 'failing', i + 1));
  rows.push(message(6000, 'k', 51));
  for (let m = queue.next(0); m; m = queue.next(0)) queue.succeeded(m);
  for (let i = 0; i < 20 && queue.sendable() === 0; i++) refillAll(queue, rows);
  expect(queue.next(0)?.eventId).toBe('orders-k-51');
});

test('a key whose refill shows a gap is read from the start, and what was doubted of it is not believed', () => {
  const beliefs = believing();
  const queue = createRelayQueue(beliefs, 2);
  const rows = [1, 2, 3, 5].map((n) => message(n, 'k', n));
  queue.offer(rows);
  for (let m = queue.next(0); m; m = queue.next(0)) queue.succeeded(m);
  refillAll(queue, rows);
  expect(takeAll(queue)).toEqual(['orders-k-3']);
  expect([queue.wantsRewind(), queue.rewound(), beliefs.distrusted]).toEqual([true, [], ['orders-k-5']]);
});

test('a key of which the table has no more is forgotten', () => {
  const queue = newQueue(2);
  const rows = [1, 2].map((n) => message(n, 'k', n));
  queue.offer([...rows, message(3, 'k', 3)]);
  for (let m = queue.next(0); m; m = queue.next(0)) queue.succeeded(m);
  expect(queue.hasLeft(0)).toBe(false);
  refillAll(queue, rows);
  expect(queue.hasLeft(0)).toBe(true);
});

test('a key that failed is read on from right behind what failed', () => {
  const queue = newQueue();
  queue.offer([message(1, 'k', 1), message(2, 'k', 2)]);
  queue.failed(queue.next(0) as OutboxMessage, 0, down);
  expect(queue.wanted()).toEqual([]);
  queue.succeeded(queue.next(200) as OutboxMessage);
  expect(queue.wanted()).toEqual([{ topic: 'orders', key: 'k', slot: 0, after: 1n }]);
});

test('a refill of a key that failed meanwhile, or went on, is not taken', () => {
  const queue = newQueue(2);
  const rows = [1, 2, 3, 4].map((n) => message(n, 'k', n));
  queue.offer(rows);
  queue.succeeded(queue.next(0) as OutboxMessage);
  queue.succeeded(queue.next(0) as OutboxMessage);
  const [place] = queue.wanted() as [KeyPlace];
  queue.refill(place, partOf(rows.slice(2, 3), place));
  const stale = partOf(rows.slice(3), place);
  const third = queue.next(0) as OutboxMessage;
  queue.failed(third, 0, down);
  queue.refill(place, stale);
  queue.refill({ ...place, after: third.id }, stale);
  queue.succeeded(queue.next(200) as OutboxMessage);
  queue.refill({ ...place, after: 1n }, stale);
  expect(takeAll(queue)).toEqual([]);
  refillAll(queue, rows);
  expect(takeAll(queue)).toEqual(['orders-k-4']);
});

test('what is committed late behind more than a step of left-out rows goes before the next of its key, which was doubted before', () => {
  const cursors = createRelayCursors(() => 0n);
  const queue = createRelayQueue(cursors);
  let table = Array.from({ length: 2500 }, (_, i) => message(i + 1, 'long', i + 1));
  const published: string[] = [];
  let now = 0;
  const readAndPublish = () => {
    now += 5;
    const { keys } = queue.exclusions();
    const after = cursors.begin([0], now).get(0) ?? 0n;
    const takes = (m: OutboxMessage) => !keys.some(({ key }) => key === m.msgKey);
    const part = partAt(table, { slot: 0, after }, takes, { limit: 100, step: 2000 });
    queue.offer(part.rows);
    cursors.end(new Map([[0, part]]), 3, now);
    for (let m = queue.next(now); m; m = queue.next(now)) {
      const { id, msgKey, eventId } = m;
      if (msgKey === 'long') {
        queue.failed(m, now, down);
        continue;
      }
      published.push(eventId);
      queue.succeeded(m);
      table = table.filter((row) => row.id !== id);
      queue.deleted([id]);
    }
  };
  for (let i = 0; i < 4; i++) readAndPublish();
  table.push(message(2601, 'other', 1)); // k-7 has the id before it, and is not committed yet
  readAndPublish();
  table.push(message(2600, 'k', 7), message(2602, 'k', 8));
  for (let i = 0; i < 400; i++) readAndPublish();
  expect(published).toEqual(['orders-other-1', 'orders-k-7', 'orders-k-8']);
});

test('a key whose next message is at hand is not held up by eight that have to look far', () => {
  const queue = newQueue();
  const rows: OutboxMessage[] = [];
  const add = (key: string, keySeq: number) => rows.push(message(rows.length + 1, key, keySeq));
  for (let n = 1; n <= 50; n++) for (let i = 0; i < 9; i++) add(`k${i}`, n);
  add('k8', 51);
  for (let i = 0; i < 20_000; i++) add('failing', i + 1);
  for (let i = 0; i < 8; i++) add(`k${i}`, 51);
  queue.offer(rows.filter((m) => m.msgKey !== 'failing'));
  for (let m = queue.next(0); m; m = queue.next(0)) queue.succeeded(m);
  let refills = 0;
  for (; refills < 20 && queue.sendable() === 0; refills++) refillAll(queue, rows);
  expect(refills).toBe(2);
  expect(queue.next(0)?.eventId).toBe('orders-k8-51');
});
