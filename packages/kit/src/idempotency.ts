import { createHash } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm';
import { pgTable, primaryKey, text, timestamp } from 'drizzle-orm/pg-core';
import type { Executor, Transaction } from './db.ts';
import { ProblemError } from './problem.ts';
import { type PurgeOptions, purgeByPages } from './purge.ts';

/** Which resource a key made; a service re-exports it from its schema.ts so that it is in its migrations. */
export const idempotencyKeys = pgTable(
  'idempotency_key',
  {
    actor: text().notNull(),
    key: text().notNull(),
    fingerprint: text().notNull(),
    resource: text().notNull(),
    createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.actor, table.key] })],
);

const LIFETIME = sql`interval '24 hours'`;
const HEADER = 'header:Idempotency-Key';

/**
 * Checks the header: 1 to 128 visible ASCII characters.
 *
 * @throws ProblemError idempotency_key_missing or idempotency_key_invalid.
 */
export function readIdempotencyKey(headerValue: string | undefined): string {
  if (headerValue === undefined || headerValue === '') {
    const detail = 'Send a new one for each thing you want made, the same one when you repeat.';
    throw new ProblemError('idempotency_key_missing', {
      errors: [{ pointer: HEADER, code: 'required', detail }],
    });
  }
  if (!/^[\x21-\x7e]{1,128}$/.test(headerValue)) {
    const detail = 'Must be 1 to 128 visible ASCII characters.';
    throw new ProblemError('idempotency_key_invalid', {
      errors: [{ pointer: HEADER, code: 'invalid', detail }],
    });
  }
  return headerValue;
}

/** SHA-256 (hex) of the body as JSON with sorted keys, so that order and white space of the client do not matter. */
export function fingerprint(body: unknown): string {
  return createHash('sha256').update(canonicalJson(body)).digest('hex');
}

/**
 * The resource that this key made within the last 24 hours (database clock), if any.
 *
 * @throws ProblemError idempotency_key_reused when it was made with another body.
 */
export async function findIdempotent(
  db: Executor,
  o: { actor: string; key: string; fingerprint: string },
): Promise<string | undefined> {
  const [row] = await db
    .select({ fingerprint: idempotencyKeys.fingerprint, resource: idempotencyKeys.resource })
    .from(idempotencyKeys)
    .where(
      and(
        eq(idempotencyKeys.actor, o.actor),
        eq(idempotencyKeys.key, o.key),
        sql`${idempotencyKeys.createdAt} > now() - ${LIFETIME}`,
      ),
    );
  return row && sameBody(row, o);
}

/**
 * Takes the key for `resource` in the transaction that makes it. Of two at once the second waits for the first one's
 * commit and gets its resource. A key older than 24 hours (database clock) is taken over.
 *
 * @throws ProblemError idempotency_key_reused when the key was taken with another body.
 */
export async function claimIdempotent(
  tx: Transaction,
  o: { actor: string; key: string; fingerprint: string; resource: string },
): Promise<{ claimed: true } | { claimed: false; resource: string }> {
  // clock_timestamp(), as now() is the transaction's start and may lie before the row it waited for.
  const [claimed] = await tx
    .insert(idempotencyKeys)
    .values({ ...o, createdAt: sql`clock_timestamp()` })
    .onConflictDoUpdate({
      target: [idempotencyKeys.actor, idempotencyKeys.key],
      set: { fingerprint: o.fingerprint, resource: o.resource, createdAt: sql`clock_timestamp()` },
      setWhere: sql`${idempotencyKeys.createdAt} <= clock_timestamp() - ${LIFETIME}`,
    })
    .returning({ key: idempotencyKeys.key });
  if (claimed) return { claimed: true };
  const [row] = await tx
    .select({ fingerprint: idempotencyKeys.fingerprint, resource: idempotencyKeys.resource })
    .from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.actor, o.actor), eq(idempotencyKeys.key, o.key)));
  if (!row) throw new Error('The idempotency row that was in the way is gone; repeat the transaction.');
  return { claimed: false, resource: sameBody(row, o) };
}

/** Deletes what is older than 24 hours; returns how many. */
export function purgeIdempotencyKeys(db: Executor, o: PurgeOptions = {}): Promise<number> {
  return purgeByPages(db, idempotencyKeys, sql`${idempotencyKeys.createdAt} <= now() - ${LIFETIME}`, o);
}

function sameBody(row: { fingerprint: string; resource: string }, o: { fingerprint: string }): string {
  if (row.fingerprint === o.fingerprint) return row.resource;
  const detail = 'This key was used with another body in the last 24 hours.';
  throw new ProblemError('idempotency_key_reused', { errors: [{ pointer: HEADER, code: 'reused', detail }] });
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}
