import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import { newId } from '@sidecart/kit/ids';
import { migrateDatabase } from '@sidecart/kit/migrate';
import { callJson } from '@sidecart/kit/testing';
import { classifyFailure } from '@sidecart/messaging/failures';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import { answersAbout, gbp, ordersService, type Service } from './fixture-orders.ts';

// What the release before has stored, and what becomes of it.

const folder = fileURLToPath(new URL('../migrations', import.meta.url));

/** The migrations that the release before had. */
function folderBefore(): string {
  const copy = mkdtempSync(join(tmpdir(), 'sidecart-before-'));
  cpSync(folder, copy, { recursive: true });
  const file = join(copy, 'meta', '_journal.json');
  const journal = JSON.parse(readFileSync(file, 'utf8'));
  const entries = journal.entries.filter(({ idx }: { idx: number }) => idx < 4);
  writeFileSync(file, JSON.stringify({ ...journal, entries }));
  return copy;
}

const ids = {
  placed: newId('ord'),
  confirmed: newId('ord'),
  rejected: newId('ord'),
  cancelled: newId('ord'),
  overdue: newId('ord'),
};
const PLACED = '2026-02-01T10:00:00.123Z';
const CHANGED = '2026-02-01T10:00:05.456Z';
const short = [{ sku: 'HEART', requested: 3, available: 1 }];

let urls: TestDatabase;
let database: Database;
let eyes: postgres.Sql;
let service: Service;
beforeAll(async () => {
  urls = await testDatabase('orders_before');
  const before = folderBefore();
  await migrateDatabase(urls.ownerUrl, before);
  rmSync(before, { recursive: true });
  eyes = postgres(urls.superUrl, { max: 2, onnotice: () => {} });
  const add = async (id: string, status: string, more: Record<string, unknown> = {}) => {
    const row = {
      id,
      status,
      actor: 'ann',
      customer_id: null,
      total_amount: 2765,
      currency: 'GBP',
      placed_at: PLACED,
      updated_at: status === 'placed' ? PLACED : CHANGED,
      ...more,
    };
    await eyes`INSERT INTO orders ${eyes(row)}`;
    for (const [position, sku, quantity, price] of [
      [0, 'HEART', 3, 255],
      [1, 'LANTERN', 2, 1000],
    ] as const)
      await eyes`INSERT INTO order_lines VALUES (${id}, ${position}, ${sku}, ${quantity}, ${price})`;
  };
  await add(ids.placed, 'placed', { customer_id: '17850' });
  await add(ids.confirmed, 'confirmed');
  await add(ids.rejected, 'rejected', { short_lines: short });
  await add(ids.cancelled, 'cancelled', { cancel_reason: null });
  await add(ids.overdue, 'cancelled', { cancel_reason: 'no stock was set aside in time' });
  await eyes`
    INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
    VALUES (now() + interval '1 day', 'self', ${ids.placed}, gen_random_uuid(), 'CancelOverdueOrder',
      ${eyes.json({ order_id: ids.placed })}, ${eyes.json({ time: PLACED, correlationid: 'c', actor: 'ann', traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' })})`;

  await migrateDatabase(urls.ownerUrl, folder);
  database = connectDatabase({ url: urls.url, applicationName: 'orders', max: 10 });
  service = ordersService(database);
});
afterAll(async () => {
  await database?.close();
  await eyes?.end();
  await urls?.drop();
});

const read = async (id: string) => (await callJson(service.app, 'GET', `/v1/orders/${id}`)).body;

describe('an order of the release before', () => {
  test('that was placed waits for its stock, and goes on from there', async () => {
    expect(await read(ids.placed)).toEqual({
      id: ids.placed,
      status: 'placed',
      customer_id: '17850',
      lines: [
        { sku: 'HEART', quantity: 3, unit_price: gbp(255), line_total: gbp(765) },
        { sku: 'LANTERN', quantity: 2, unit_price: gbp(1000), line_total: gbp(2000) },
      ],
      total: gbp(2765),
      placed_at: PLACED,
      updated_at: PLACED,
      progress: { step: 'reserve', since: PLACED, waits_for: 'inventory to set the stock aside' },
    });
    await answersAbout(service.app, ids.placed).stockReserved();
    expect(await read(ids.placed)).toMatchObject({ status: 'placed', progress: { step: 'authorise' } });
  });

  test('that was confirmed is as it was: at its end, and it can be cancelled', async () => {
    const confirmed = await read(ids.confirmed);
    expect(confirmed).toMatchObject({ status: 'confirmed', updated_at: CHANGED });
    expect(confirmed).not.toHaveProperty('progress');
    const cancelled = await callJson(service.app, 'POST', `/v1/orders/${ids.confirmed}/cancel`, {});
    expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    const told = await eyes`SELECT type FROM outbox WHERE msg_key = ${ids.confirmed} ORDER BY id`;
    expect(told.map(({ type }) => type)).toEqual(['OrderCancelled', 'ReleaseStock']);
  });

  test('that was rejected names the lines at fault', async () => {
    expect(await read(ids.rejected)).toMatchObject({
      status: 'rejected',
      rejection: { reason: 'out_of_stock', lines: short },
      updated_at: CHANGED,
    });
  });

  test('that was cancelled says why, if that is known', async () => {
    expect((await read(ids.cancelled)).cancellation).toEqual({});
    expect((await read(ids.overdue)).cancellation).toEqual({ reason: 'no stock was set aside in time' });
  });

  test('says in its history that it was taken over', async () => {
    const { body } = await callJson(service.app, 'GET', `/v1/orders/${ids.overdue}/history`);
    expect(body.items).toMatchObject([
      { version: 1, type: 'OrderPlaced', at: PLACED, actor: 'ann', command: 'TakeOver' },
      {
        version: 2,
        type: 'OrderCancelled',
        at: CHANGED,
        actor: 'system',
        command: 'TakeOver',
        details: { cause: 'overdue' },
      },
    ]);
  });

  test('is in the list', async () => {
    service.projector.start();
    try {
      await vi.waitFor(async () => {
        const { body } = await callJson(service.app, 'GET', '/v1/orders');
        expect(body.items.map(({ id }: { id: string }) => id).sort()).toEqual(Object.values(ids).sort());
      }, 10_000);
    } finally {
      await service.projector.stop();
    }
  });
});

test('positions are in the order in which things happened', async () => {
  const rows =
    await eyes`SELECT stream_id, version::int FROM events WHERE meta ->> 'command' = 'TakeOver' ORDER BY pos`;
  const sorted = [...rows].sort((a, b) => a.version - b.version);
  expect(rows.map(({ version }) => version)).toEqual(sorted.map(({ version }) => version));
});

test('the deadline that the release before gave an order is still kept', async () => {
  const id = newId('ord');
  await eyes`INSERT INTO streams (stream_id, type, version) VALUES (${id}, 'order', 1)`;
  await eyes`
    INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
    SELECT ${id}, 1, gen_random_uuid(), type, schema_version, data || jsonb_build_object('orderId', ${id}::text), meta
    FROM events WHERE stream_id = ${ids.placed} AND version = 1`;
  await service.work();
  await eyes`
    INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
    SELECT now(), topic, ${id}, gen_random_uuid(), type, ${eyes.json({ order_id: id })}, headers FROM outbox_delayed WHERE type = 'CancelOverdueOrder'`;
  await vi.waitFor(async () => expect((await read(id)).status).toBe('cancelled'), 10_000);
});

describe('the release before, if it is still there', () => {
  // Its statements, as drizzle made them.
  test.each([
    [
      'placing',
      `INSERT INTO orders (id, status, actor, total_amount, currency, placed_at, updated_at)
                 VALUES ('ord_x', 'placed', 'ann', 1, 'GBP', now(), now())`,
    ],
    ['deciding', `SELECT id, status FROM orders WHERE id = 'ord_x' FOR UPDATE`],
    ['changing', `UPDATE orders SET status = 'confirmed' WHERE id = 'ord_x'`],
  ])('%s is refused, as something that another may be able to do', async (_, statement) => {
    const refused = await database.sql.unsafe(statement).catch((err: unknown) => err);
    expect(refused).toMatchObject({ code: '42501' });
    // A message is delivered again, to the new release; it is no dead letter.
    expect(classifyFailure(refused).kind).toBe('transient');
  });

  test('reads what there was', async () => {
    expect(await database.sql`SELECT 1 FROM orders o JOIN order_lines l ON l.order_id = o.id`).toHaveLength(
      10,
    );
  });
});
