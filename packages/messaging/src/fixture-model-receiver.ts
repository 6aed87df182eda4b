import { createApp } from '@sidecart/kit/app';
import type { InvokeRequest } from '@sidecart/kit/dapr';
import type { Database } from '@sidecart/kit/db';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { expect } from 'vitest';
import type { CutProxy } from '../../../tests/cut-proxy.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { catalog, eventually, type Fixture } from './fixture.ts';
import { on } from './handler.ts';
import { createRepair } from './repair.ts';
import { mountSent } from './sent-routes.ts';

/** Parts that a control takes away. */
export type Part = 'inbox' | 'order' | 'repair';

export interface Receiver {
  fixture: Fixture;
  proxy: CutProxy & { close(): void };
  database: Database;
  ordered: boolean;
}

/** One of the receivers, with its repair. What it starts is ended by `ends`. */
export function startReceiver(
  { sender, without }: { sender: Fixture; without: Part | undefined },
  receiver: Receiver,
  ends: (() => Promise<unknown>)[],
) {
  const { fixture, proxy, database, ordered } = receiver;
  const trouble = new Map<string, 'not now' | 'connection lost'>();
  let consumer: Consumer | undefined;
  let restarts = 0;
  const from = createApp(testDeps('orders'));
  mountSent(from, { service: 'orders', database: sender.database });
  const invoke = async (_app: string, { method, path, body }: InvokeRequest) => {
    const answer = await callJson(from, method, path, body);
    return { ...answer, body: JSON.stringify(answer.body), json: () => answer.body };
  };
  const handler = on(
    catalog.Placed.schema,
    async (tx, { id, data }) => {
      await tx.execute(sql`INSERT INTO applied (key, n) VALUES (${data.key}, ${data.n})`);
      const now = trouble.get(id);
      trouble.delete(id);
      if (now === 'not now') throw Object.assign(new Error(now), { code: '40001' });
      if (now) await tx.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
    },
    { ordered: ordered && without !== 'order' },
  );

  return {
    fixture,
    proxy,
    trouble,
    /** Another one takes the place of the one before it, whose connections are gone. */
    async restart(): Promise<void> {
      const deps = testDeps('inventory');
      const topics = { orders: { kind: 'fact' as const, handlers: { Placed: handler } } };
      // Some of them set aside what has failed once, when it comes again.
      const setAsideMs = restarts++ % 2 === 0 ? 0 : 1000;
      const next = createConsumer({ ...deps, database, sweepMs: 50, setAsideMs, topics });
      consumer = next;
      ends.push(() => next.worker.stop());
      await next.worker.start();
      if (without === 'repair') return;
      const edges = [{ topic: 'orders', sender: 'orders' }];
      const timing = { intervalMs: 50, graceMs: 150 };
      const repair = createRepair({ ...deps, ...timing, dapr: { invoke }, database, consumer: next, edges });
      ends.push(() => repair.stop());
      await repair.start();
    },
    deliver: (event: CloudEvent) =>
      (consumer as Consumer).receive('orders', new TextEncoder().encode(JSON.stringify(event)), {}),
    /** No more trouble, and as long has passed as a lease is for: an edge that died with its receiver is free for the next. */
    async calm(): Promise<void> {
      trouble.clear();
      proxy.disarm();
      await fixture.admin`UPDATE repair_cursor SET lease_until = '-infinity'`;
    },
    /** Every committed message is applied exactly once, in order per key for who wants it, and nothing else is. */
    async compare(withinMs: number): Promise<void> {
      const written = await sender.admin<{ n: number }[]>`SELECT n FROM written ORDER BY n`;
      const order = await sender.admin<{ key: string; n: number; seq: number }[]>`
        SELECT msg_key AS key, (payload->>'n')::int AS n, key_seq::int AS seq FROM sent ORDER BY key_seq`;
      expect(
        order.map((row) => row.n).sort((a, b) => a - b),
        'sent',
      ).toEqual(written.map((row) => row.n));
      const perKey = (rows: Iterable<{ key: string; n: number }>) => {
        const keys: Record<string, number[]> = {};
        for (const { key, n } of rows) keys[key] = [...(keys[key] ?? []), n];
        if (!ordered) for (const list of Object.values(keys)) list.sort((a, b) => a - b);
        return keys;
      };
      for (const [key, list] of Object.entries(perKey(order)))
        expect(list).toHaveLength(order.filter((row) => row.key === key).at(-1)?.seq ?? 0);
      await eventually(async () => {
        const applied = await fixture.admin<
          { key: string; n: number }[]
        >`SELECT key, n FROM applied ORDER BY id`;
        expect(perKey(applied), ordered ? 'applied in order' : 'applied').toEqual(perKey(order));
      }, withinMs);
      expect(await fixture.admin`SELECT reason, detail FROM dead_letter`).toEqual([]);
      expect(await fixture.admin`SELECT event_id FROM inbox_failing`).toEqual([]);
    },
  };
}
