import { createApp } from '@sidecart/kit/app';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDelayedRelease } from './delayed.ts';
import { eventually, type Fixture, openFixture } from './fixture.ts';
import { lookedAt } from './fixture-looked-at.ts';
import { readLimit } from './fixture-reader.ts';
import { waitingKeys } from './key-order.ts';
import * as local from './local-session.ts';
import { mountSent } from './sent-routes.ts';
import { readBySlot } from './slot-read.ts';

// A statement that looks at all that there is takes longer than a statement may as soon as there is enough of it, and then it fails for ever.

const MANY = 20_000;

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('boundedstatements');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

describe('the count of what waits', () => {
  const count = () => lookedAt(fixture, 'inbox_parked', ({ db }) => waitingKeys(db, ['orders', 'products']));

  test('looks at the first message of each key, however many wait on it', async () => {
    const { admin } = fixture;
    await admin`
      INSERT INTO inbox_key (topic, sender, msg_key, last_seq, waiting)
      SELECT 'orders', 'orders', key, 0, waiting FROM (VALUES ('held', ${MANY}::int), ('missing', 1)) AS k (key, waiting)`;
    await admin`
      INSERT INTO inbox_parked (topic, sender, msg_key, seq, event_id, parked_at)
      SELECT 'orders', 'orders', 'held', n + 1, 'e' || n, now() - make_interval(secs => 1000 - n / 100) FROM generate_series(1, ${MANY}) AS n
      UNION ALL SELECT 'orders', 'orders', 'missing', 2, 'm', now() - interval '100 seconds'`;
    await admin`
      INSERT INTO dead_letter (topic, event_id, type, sender, msg_key, key_seq, body, headers, reason, detail, attempts, holds_key)
      VALUES ('orders', 'e0', 'T', 'orders', 'held', 1, '', '{}', 'invariant', 'never', 1, true)`;
    await admin`ANALYZE inbox_parked, inbox_key, dead_letter`;
    expect(await count()).toBeLessThan(100);
    const { orders, ...others } = await waitingKeys(fixture.database.db, ['orders', 'products']);
    expect(others).toEqual({});
    expect(orders).toMatchObject({ messages: MANY + 1, held: 1, missing: 1 });
    expect(orders?.oldestSeconds).toBeGreaterThan(990);
    expect(orders?.missingSeconds).toBeGreaterThan(90);
    expect(orders?.missingSeconds).toBeLessThan(200);
  });
});

describe('a comparison with a sender that was restored into another cluster', () => {
  test('goes over the rows of its other life once, and not again for each question since', async () => {
    await fixture.admin`
      INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers, xid)
      SELECT n, 'orders', 'k' || n, gen_random_uuid(), 1, 'Placed', '{}', '{}', (99999999999 + n)::text::xid8
      FROM generate_series(1, ${MANY}) AS n`;
    await fixture.admin`ANALYZE sent`;
    let since: string | undefined;
    const compare = () =>
      lookedAt(fixture, 'sent', async (database) => {
        const from = createApp(testDeps('orders'));
        mountSent(from, { service: 'orders', database });
        let page: { target?: string; after?: string | null } = {};
        do {
          const { target, after } = page;
          const question = {
            ask: 'ids',
            ...(since !== undefined && { since }),
            ...(after && { target, after }),
          };
          page = (await callJson(from, 'POST', '/sent/orders', question)).body;
        } while (page.after);
        since = page.target;
      });
    expect(await compare()).toBeGreaterThanOrEqual(MANY);
    expect(since).toBeDefined();
    expect(await compare()).toBeLessThan(100);
  });
});

describe('delayed messages of one key', () => {
  test('are released at a cost that does not grow with their number', async () => {
    const due = 4000;
    await fixture.admin`
      INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
      SELECT now() - interval '1 second' + make_interval(secs => n / 1e6), 'orders', 'k', gen_random_uuid(), 'Placed', '{"key":"k","n":1}', '{}'
      FROM generate_series(1, ${due}) AS n`;
    await fixture.admin`ANALYZE outbox_delayed`;
    const looked = await lookedAt(fixture, 'outbox_delayed', async (database) => {
      const mover = createDelayedRelease({ ...testDeps('orders'), database });
      await mover.start();
      await eventually(
        async () => expect(await fixture.admin`SELECT FROM outbox_delayed LIMIT 1`).toEqual([]),
        15_000,
      );
      await mover.stop();
    });
    // Each look passes what was moved before; when each row of a look went through all of its key it was 1,100 (measured).
    expect(looked / due).toBeLessThan(100);
  });
});

describe('a read of the messages to oneself', () => {
  const read = () =>
    lookedAt(fixture, 'dead_letter', ({ sql }) =>
      readBySlot((statement) => statement(sql) as never, new Map([[0, 0n]]), readLimit, {
        queue: 'outbox_local',
        leavesOut: () => true,
        takes: (query) => local.takesOthersThan(query, []),
      }),
    );

  beforeEach(
    async () =>
      void (await fixture.admin`
        INSERT INTO outbox_local (slot, msg_key, event_id, key_seq, type, payload, headers) VALUES (0, 'k', gen_random_uuid(), 1, 'Remind', '{}', '{}')`),
  );

  test('looks at no dead letters but those that hold a key of these', async () => {
    const { admin } = fixture;
    await admin`
      INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key, state)
      SELECT CASE WHEN n <= ${MANY} THEN 'orders' ELSE 'self' END, 'e' || n, 'T', 'k' || n, '', '{}', 'invariant', 'never', 1,
        n <= ${MANY} OR n % 2 = 0, CASE WHEN n <= ${MANY} OR n % 2 = 1 THEN 'waiting' ELSE 'redriven' END
      FROM generate_series(1, ${2 * MANY}) AS n`;
    await admin`ANALYZE dead_letter`;
    expect(await read()).toBeLessThan(100);
    const index = await admin<
      { definition: string }[]
    >`SELECT pg_get_indexdef('dead_letter_holding'::regclass) AS definition`;
    await admin`DROP INDEX dead_letter_holding`;
    try {
      expect(await read()).toBeGreaterThanOrEqual(MANY); // the control
    } finally {
      await admin.unsafe(index[0]?.definition as string);
    }
  });
});
