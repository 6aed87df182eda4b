import { fileURLToPath } from 'node:url';
import { catalog } from '@sidecart/contracts/catalog';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { migrateDatabase } from '@sidecart/kit/migrate';
import { callJson, type JsonAnswer } from '@sidecart/kit/testing';
import { buildEnvelope } from '@sidecart/messaging/envelope';
import type { Hono } from 'hono';
import postgres from 'postgres';
import { migrateAhead } from './next-schema.ts';
import { testDatabase } from './postgres.ts';

/** A migrated database of one service, opened as that service opens it, and a second pair of eyes on it. */
export interface ServiceDatabase {
  database: Database;
  /** URL of the owner role, for migrations. */
  ownerUrl: string;
  /** The superuser, outside of the service's own pool: for looking and for holding locks. */
  eyes: postgres.Sql;
  /** The messages waiting in the outbox, in the order in which they will be published. */
  outbox(): Promise<{ topic: string; type: string; key: string; data: Record<string, unknown> }[]>;
  /** Waits until so many of the service's own connections wait for a lock. */
  blocked(count: number): Promise<void>;
  close(): Promise<void>;
}

export async function serviceDatabase(service: string): Promise<ServiceDatabase> {
  const created = await testDatabase(service);
  const migrations = fileURLToPath(new URL(`../services/${service}/migrations`, import.meta.url));
  await migrateDatabase(created.ownerUrl, migrations);
  if (process.env.SIDECART_NEXT_SCHEMA) await migrateAhead(created.ownerUrl, migrations);
  const database = connectDatabase({ url: created.url, applicationName: service, max: 10 });
  const eyes = postgres(created.superUrl, { max: 4, onnotice: () => {} });

  return {
    database,
    ownerUrl: created.ownerUrl,
    eyes,
    async outbox() {
      return eyes`SELECT topic, type, msg_key AS key, payload AS data FROM outbox ORDER BY id`;
    },
    async blocked(count) {
      for (let tries = 0; tries < 150; tries++) {
        const [row] = await eyes<{ n: number }[]>`
          SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = ${service} AND wait_event_type = 'Lock'`;
        if (row && row.n >= count) return;
        await new Promise((done) => setTimeout(done, 10));
      }
      throw new Error(`Fewer than ${count} connections of ${service} wait for a lock`);
    },
    async close() {
      await database.close();
      await eyes.end();
      await created.drop();
    },
  };
}

/** Delivers a message as the sidecar does; with the `id` of an earlier one it is a duplicate. */
export function deliver(
  // biome-ignore lint/suspicious/noExplicitAny: apps of any environment
  app: Hono<any>,
  type: keyof typeof catalog,
  data: { order_id?: string; sku?: string; [field: string]: unknown },
  id = uuidv7(),
): Promise<JsonAnswer> {
  const { topic } = catalog[type];
  const event = buildEnvelope('test', {
    topic,
    msgKey: data.order_id ?? data.sku ?? id,
    eventId: id,
    keySeq: '1',
    type,
    payload: data,
    headers: {
      time: new Date().toISOString(),
      correlationid: id,
      actor: 'test',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
  });
  return callJson(app, 'POST', `/messages/${topic}`, event, {
    'content-type': 'application/cloudevents+json',
  });
}
