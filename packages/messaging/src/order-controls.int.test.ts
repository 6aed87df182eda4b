import type { Transaction } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { CloudEvent } from './envelope.ts';
import { eventually, type Fixture, openFixture, outbox, pause, placed } from './fixture.ts';
import { recorder } from './fixture-recorder.ts';
import { createRelay } from './relay.ts';

// Other ways to read an outbox, in the situations that they are known to fail in, beside the relay in the same.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('order_controls');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

type Read = () => Promise<number[]>;

/** `n` of what a reader by (transaction, place) is given next: its transactions are all over, so it believes to see all of them. */
function byTransaction(): Read {
  let last = { xid: '0', id: '0' };
  return async () => {
    const rows = await fixture.admin<{ xid: string; id: string; n: number }[]>`
      SELECT xmin::text AS xid, id::text, (payload->>'n')::int AS n FROM outbox
      WHERE (xmin::text::bigint, id) > (${last.xid}::bigint, ${last.id}::bigint)
        AND xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
      ORDER BY xmin::text::bigint, id`;
    last = rows.at(-1) ?? last;
    return rows.map(({ n }) => n);
  };
}

/** `n` of what a reader gets next that goes on behind the highest id it has seen. */
function byPlace(): Read {
  let last = '0';
  return async () => {
    const rows = await fixture.admin<{ id: string; n: number }[]>`
      SELECT id::text, (payload->>'n')::int AS n FROM outbox WHERE id > ${last}::bigint ORDER BY id`;
    last = rows.at(-1)?.id ?? last;
    return rows.map(({ n }) => n);
  };
}

const numbers = (arrived: CloudEvent[]) => arrived.map(({ data }) => (data as { n: number }).n);

/** What the relay publishes of what is there and of what comes. */
async function relay(broker = recorder()): Promise<CloudEvent[]> {
  const own = createRelay({
    ...testDeps('orders'),
    url: fixture.urls.url,
    publish: broker.publish,
    pollMs: 20,
  });
  await own.start();
  onTestFinished(() => own.stop());
  return broker.arrived;
}

/** A transaction that stays open until it is told to end. */
async function open(work: (tx: Transaction) => Promise<unknown>) {
  const begun = Promise.withResolvers<void>();
  const go = Promise.withResolvers<(tx: Transaction) => Promise<unknown>>();
  const ended = fixture.database.db.transaction(async (tx) => {
    await work(tx);
    begun.resolve();
    await (await go.promise)(tx);
  });
  await begun.promise;
  return async (last: (tx: Transaction) => Promise<unknown> = async () => {}) => {
    go.resolve(last);
    await ended;
  };
}

const takeXid = (tx: Transaction) => tx.execute(sql`SELECT pg_current_xact_id()`);
const write = (key: string, n: number) =>
  fixture.database.db.transaction((tx) => outbox.publish(tx, placed(key, n)));

describe('a transaction that takes its number early and comes to its key late', () => {
  async function situation() {
    const early = await open(takeXid);
    await write('k', 1);
    await early((tx) => outbox.publish(tx, placed('k', 2)));
  }

  test('is published behind the one that was before it at the key', async () => {
    await situation();
    const arrived = await relay();
    await eventually(() => expect(numbers(arrived)).toEqual([1, 2]));
  });

  test('control: a reader by (transaction, place) turns the two around', async () => {
    const read = byTransaction();
    const seen: number[] = [];
    await situation();
    await eventually(async () => {
      seen.push(...(await read()));
      expect(seen).toEqual([2, 1]);
    });
  });
});

describe('an id that is taken early and committed late', () => {
  async function situation(look: () => Promise<void>) {
    const late = await open((tx) => outbox.publish(tx, placed('late', 1)));
    await write('other', 2);
    await look();
    await late();
  }

  test('is published', async () => {
    const arrived = await relay();
    await situation(() => eventually(() => expect(numbers(arrived)).toEqual([2])));
    await eventually(() => expect(numbers(arrived)).toEqual([2, 1]));
  });

  test('control: a reader that goes on behind the highest id skips it for ever', async () => {
    const read = byPlace();
    await situation(async () => expect(await read()).toEqual([2]));
    await write('other', 3);
    expect(await read()).toEqual([3]);
  });
});

describe('a transaction that stays open somewhere', () => {
  test('holds up nothing', async () => {
    const arrived = await relay();
    const end = await open(takeXid);
    await write('k', 1);
    await eventually(() => expect(numbers(arrived)).toEqual([1]));
    await end();
  });

  test('control: a reader by (transaction, place) sees nothing until it ends', async () => {
    const read = byTransaction();
    const end = await open(takeXid);
    await write('k', 1);
    expect(await read()).toEqual([]);
    await end();
    await eventually(async () => expect(await read()).toEqual([1]));
  });
});

describe('two that publish at once', () => {
  const messages = Array.from({ length: 40 }, (_, i) => placed('k', i + 1));
  const inOrder = messages.map(({ data }) => data.n);
  /** The first takes longest, as any may. */
  const slowFirst = () => recorder((_, nth) => pause(nth === 1 ? 100 : 2));

  test('keep the order of a key', async () => {
    await fixture.database.db.transaction((tx) => outbox.publish(tx, ...messages));
    const broker = slowFirst();
    await relay(broker);
    await relay(broker);
    await eventually(() => expect(numbers(broker.arrived)).toEqual(inOrder));
    expect(broker.overlaps).toEqual([]);
  });

  test('control: with SKIP LOCKED each takes what the other has not, and the key falls apart', async () => {
    await fixture.database.db.transaction((tx) => outbox.publish(tx, ...messages));
    const acknowledged: number[] = [];
    const broker = slowFirst();
    const publishAll = async () => {
      for (let more = true; more; )
        more = await fixture.database.db.transaction(async (tx) => {
          const [row] = await tx.execute<{ event_id: string; n: number }>(sql`
            DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING event_id, (payload->>'n')::int AS n`);
          if (!row) return false;
          await broker.publish('orders', { id: row.event_id, partitionkey: 'k' } as CloudEvent);
          acknowledged.push(row.n);
          return true;
        });
    };
    await Promise.all([publishAll(), publishAll()]);
    expect(acknowledged.toSorted((a, b) => a - b)).toEqual(inOrder);
    expect(acknowledged).not.toEqual(inOrder);
    expect(broker.overlaps.length).toBeGreaterThan(0);
  });
});
