import type { Transaction } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { type Consumer, type ConsumerOptions, createConsumer } from './consumer.ts';
import { eventually, type Fixture, openFixture } from './fixture.ts';
import { type Handler, on } from './handler.ts';
import { delivery } from './testing.ts';

// What the tests of messages that were set aside share: replicas that fail as they are told, and looks at what they leave.

export interface Behaviour {
  /** Those that fail for now, whenever they are tried. */
  away?: Set<number>;
  /** Types that a service has handlers for. */
  types?: string[];
  /** Whether `Step` wants the order, or who does. */
  ordered?: boolean | string;
  during?: (n: number, tx: Transaction) => Promise<unknown>;
  kind?: 'fact' | 'command';
  options?: Partial<ConsumerOptions>;
}

interface Sending {
  type?: string;
  key?: string;
  sequence?: number;
  id?: string;
}

const Data = z.object({ key: z.string(), n: z.int() });

/** The key of all messages that say no other. */
export const KEY = { topic: 'orders', sender: 'test', key: 'k' };

export const send = (consumer: Consumer, n: number, o: Sending = {}) => {
  const { type = 'Step', key = 'k', sequence = n, id = `${key}-${n}` } = o;
  const body = delivery(type, { key, n }, { id, key, sequence });
  return consumer.receive('orders', new TextEncoder().encode(body), { traceparent: 'x' });
};

/** Fails once, and is set aside. */
export async function setAside(consumer: Consumer, n: number, o: Sending = {}): Promise<void> {
  expect(await send(consumer, n, o)).toBe('retry');
  expect(await send(consumer, n, o)).toBe('done');
}

/** Until the test ends, or what it returns is called. */
export async function start({ worker }: Pick<Consumer, 'worker'>): Promise<() => Promise<void>> {
  await worker.start();
  const stop = async () => worker.stop();
  onTestFinished(stop);
  return stop;
}

/** A database for the tests of one file, which is empty before each of them. */
export function useSetAside(name: string) {
  let opened: Fixture;
  beforeAll(async () => {
    opened = await openFixture(name);
    await opened.admin`CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, n int, type text)`;
    await opened.admin`GRANT ALL ON applied TO PUBLIC`;
  });
  beforeEach(async () => {
    await opened.clear();
    await opened.admin`TRUNCATE applied`;
  });
  afterAll(() => opened?.close());

  const aside = async () =>
    (await opened.admin<{ event_id: string }[]>`SELECT event_id FROM inbox_failing ORDER BY event_id`).map(
      ({ event_id }) => event_id,
    );

  return {
    fixture: () => opened,
    /** One replica. A delivery that has failed once is set aside when it comes again. */
    replica({
      away,
      types = ['Step', 'Note'],
      ordered = false,
      during,
      kind = 'fact',
      options,
    }: Behaviour = {}) {
      const state = { tries: 0 };
      const handler = (type: string): Handler =>
        on(
          Data,
          async (tx, { data }) => {
            state.tries += 1;
            await tx.execute(sql`INSERT INTO applied (n, type) VALUES (${data.n}, ${type})`);
            await during?.(data.n, tx);
            if (away?.has(data.n)) throw new TypeError('a bug');
          },
          { ordered: type === (ordered === true ? 'Step' : ordered) },
        );
      const deps = testDeps('inventory');
      const handlers = Object.fromEntries(types.map((type) => [type, handler(type)]));
      const consumer = createConsumer({
        ...deps,
        database: opened.database,
        sweepMs: 50,
        setAsideMs: 0,
        topics: { orders: { kind, handlers } },
        ...options,
      });
      return { ...deps, consumer, state };
    },
    applied: async () =>
      (await opened.admin<{ n: number }[]>`SELECT n FROM applied ORDER BY id`).map(({ n }) => n),
    aside,
    outcomeOf: async (id: string) =>
      (await opened.admin<{ outcome: string }[]>`SELECT outcome FROM inbox WHERE event_id = ${id}`)[0]
        ?.outcome,
    dead: () => opened.admin`SELECT event_id, reason, holds_key, state FROM dead_letter ORDER BY event_id`,
    async keyState() {
      const [row] = await opened.admin<{ last: number; waiting: number }[]>`
        SELECT last_seq::int AS last, waiting FROM inbox_key WHERE msg_key = 'k'`;
      return row;
    },
    makeDue: () => opened.admin`UPDATE inbox_failing SET due_at = clock_timestamp()`,
    /** From now on deaths are counted. */
    someDeath: () =>
      opened.admin`INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'x', now())`,
    /** Goes on with the key until its message is set aside. */
    drainAside: (consumer: Consumer, id: string) =>
      eventually(async () => {
        await consumer.drain(KEY);
        expect(await aside()).toEqual([id]);
      }),
    /** While nobody else gets at a table. */
    async whileLocked(table: string, work: () => Promise<void>): Promise<void> {
      const locked = Promise.withResolvers<void>();
      const worked = Promise.withResolvers<void>();
      const holding = opened.admin.begin(async (tx) => {
        await tx`LOCK TABLE ${tx(table)} IN ACCESS EXCLUSIVE MODE`;
        locked.resolve();
        await worked.promise;
      });
      await locked.promise;
      await work().finally(worked.resolve);
      await holding;
    },
    /** While a table is not there. */
    async without(table: string, work: () => Promise<void>): Promise<void> {
      const { admin } = opened;
      await admin`ALTER TABLE ${admin(table)} RENAME TO elsewhere`;
      try {
        await work();
      } finally {
        await admin`ALTER TABLE elsewhere RENAME TO ${admin(table)}`;
      }
    },
  };
}
