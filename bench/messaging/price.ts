import type { Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { createMessagingTables } from '@sidecart/messaging/testing';
import { json, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { shares, warmMs } from '../cells/cell-child.ts';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { BENCH_TYPE, SELF_TYPE } from './bench-catalog.ts';
import { BUSINESS_NOTE, BUSINESS_TABLE, business } from './business.ts';
import { type CellJob, PRICE, WRITERS } from './cell.ts';
import { execute } from './cell-kinds.ts';
import type { Message } from './ledger.ts';
import { ownService } from './own-service.ts';
import { paddedMessage } from './payload.ts';

const TABLES = `${BUSINESS_TABLE};
  CREATE TABLE idempotency (key text PRIMARY KEY, answer json NOT NULL);
  CREATE TABLE line (id uuid PRIMARY KEY, order_id text NOT NULL, sku text NOT NULL)`;
const idempotency = pgTable('idempotency', {
  key: text('key').primaryKey(),
  answer: json('answer').notNull(),
});
const line = pgTable('line', {
  id: uuid('id').primaryKey(),
  orderId: text('order_id').notNull(),
  sku: text('sku').notNull(),
});

type Send = (tx: Transaction, message: Message) => Promise<void>;
type Body = (tx: Transaction, message: Message, send: Send) => Promise<unknown>;

const insertBusiness = (tx: Transaction, { key }: Message) =>
  tx.insert(business).values({ customer: key, note: BUSINESS_NOTE });

/** One row, and one the size of an order's: a key that is claimed, then an order with three lines. Independent statements go together, as in the services. */
const BODIES: Record<(typeof PRICE.bodies)[number], Body> = {
  'one row': (tx, message, send) => Promise.all([insertBusiness(tx, message), send(tx, message)]),
  'an order': async (tx, message, send) => {
    await tx.insert(idempotency).values({ key: uuidv7(), answer: { status: 201 } });
    const lines = ['a', 'b', 'c'].map((sku) => ({ id: uuidv7(), orderId: message.key, sku }));
    await Promise.all([insertBusiness(tx, message), tx.insert(line).values(lines), send(tx, message)]);
  },
};
/** The same transaction with and without a message. Nothing is published or handled meanwhile: this is what the writer pays. */
export async function price(job: Extract<CellJob, { kind: 'price' }>, mark: Mark): Promise<CellOutcome> {
  const [bodyName, kind] = job.arm.split(', ');
  const body = BODIES[PRICE.bodies.find((name) => name === bodyName) ?? 'one row'];
  if (!PRICE.arms.includes(job.arm)) throw new Error(`there is no transaction ${job.arm}`);
  await execute(job.url, TABLES);
  await createMessagingTables(job.url);
  const { database, outbox } = ownService({
    url: job.url,
    writers: WRITERS,
    ordered: false,
    handled: () => {},
  });
  const sends: Record<string, Send> = {
    'a fact': (tx, data) => outbox.publish(tx, { type: BENCH_TYPE, data }),
    'a message to itself': (tx, data) => outbox.send(tx, { type: SELF_TYPE, data }),
  };
  const send = sends[kind ?? ''] ?? (async () => {});

  const samples: number[] = [];
  let n = 0;
  const forMs = async (ms: number) => {
    const from = now();
    const writer = async () => {
      while (now() - from < ms) {
        const message = paddedMessage(n, `key-${n % 10_000}`, 0);
        n += 1;
        const begunAt = now();
        await database.db.transaction((tx) => body(tx, message, send));
        samples.push(now() - begunAt);
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, writer));
    return (now() - from) / 1000;
  };
  await forMs(warmMs(job.ms));
  samples.length = 0;
  await mark('begin');
  const seconds = await forMs(job.ms);
  await mark('end');
  const [row] = await database.sql<{ rows: number; messages: number }[]>`
    SELECT (SELECT count(*) FROM business)::int AS rows,
           (SELECT count(*) FROM outbox)::int + (SELECT count(*) FROM outbox_local)::int AS messages`;
  await database.close();
  const wanted = { rows: n, messages: kind === 'no message' ? 0 : n };
  const exact = row?.rows === wanted.rows && row.messages === wanted.messages;
  const faults = exact ? [] : [`${n} transactions left ${row?.rows} rows and ${row?.messages} messages`];
  return { count: samples.length, seconds, latencies: shares(samples), faults };
}
