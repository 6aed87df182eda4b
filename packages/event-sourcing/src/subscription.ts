import type { Database, Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { LOCKS } from './lock-classes.ts';

/** How far a read model has come; see the table. */
export interface Subscription {
  generation: number;
  state: 'live' | 'building';
  done: string;
  target: string | null;
  after_pos: string;
  after_archive: string;
  /** Its position is of another database. */
  foreign: boolean;
}

export interface SubscriptionStatus {
  name: string;
  generation: number;
  codeVersion: number;
  state: 'live' | 'building' | 'retired';
  /** Events that are visible and not done; counted up to 100,000. */
  behind: number;
  /** Of a rebuild. */
  built: number;
  toBuild: number;
}

/** No event is done: transaction ids begin at 3. */
const NOTHING_DONE = '1:1:';

/** The server that transaction ids belong to, and the database. After a restore from a dump it is another one. */
export const ORIGIN = `(SELECT system_identifier FROM pg_control_system())::text || '/' ||
  (SELECT oid FROM pg_database WHERE datname = current_database())::text`;

/** The subscription with its row locked, or none when another process is at it. */
export async function lockSubscription(
  tx: Transaction,
  name: string,
  generation: number,
): Promise<Subscription | undefined> {
  const [row] = await runPrepared<Subscription>(
    tx,
    'lock_subscription',
    `SELECT generation, state, done::text, target::text, after_pos::text, after_archive::text,
       origin <> ${ORIGIN} OR pg_snapshot_xmax(done) > pg_snapshot_xmax(pg_current_snapshot()) AS foreign
     FROM subscriptions WHERE name = $1::text AND generation = $2::int AND state <> 'retired' FOR UPDATE SKIP LOCKED`,
    [name, generation],
  );
  return row;
}

/** Everything that this transaction, which must be REPEATABLE READ, sees is done. */
export async function finish(tx: Transaction, name: string, generation: number): Promise<void> {
  await runPrepared(
    tx,
    'subscription_finish',
    `UPDATE subscriptions SET done = pg_current_snapshot(), target = NULL, after_pos = 0
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation],
  );
}

/** A large difference: what this transaction sees is its end, and what is up to the position is done. */
export async function pageFrom(
  tx: Transaction,
  name: string,
  generation: number,
  o: { afterPos: string; built: number },
): Promise<void> {
  await runPrepared(
    tx,
    'subscription_page',
    `UPDATE subscriptions SET target = coalesce(target, pg_current_snapshot()), after_pos = $3::text::bigint, built = built + $4::int
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation, o.afterPos, o.built],
  );
}

/** The end of a large difference. */
export async function finishPages(
  tx: Transaction,
  name: string,
  generation: number,
  built: number,
): Promise<void> {
  await runPrepared(
    tx,
    'subscription_pages_done',
    `UPDATE subscriptions SET done = target, target = NULL, after_pos = 0, built = built + $3::int
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation, built],
  );
}

/** The archive is done. */
export async function passArchive(
  tx: Transaction,
  name: string,
  generation: number,
  o: { archive: string; built: number },
): Promise<void> {
  await runPrepared(
    tx,
    'subscription_archive',
    `UPDATE subscriptions SET after_archive = $3::text::bigint, built = built + $4::int
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation, o.archive, o.built],
  );
}

/** From now on the rows of this generation are read; those of the one before are to be thrown away. */
export async function switchTo(tx: Transaction, name: string, generation: number): Promise<void> {
  await runPrepared(
    tx,
    'subscription_retire',
    `UPDATE subscriptions SET state = 'retired' WHERE name = $1::text AND state = 'live'`,
    [name],
  );
  await runPrepared(
    tx,
    'subscription_live',
    `UPDATE subscriptions SET state = 'live' WHERE name = $1::text AND generation = $2::int`,
    [name, generation],
  );
}

/**
 * Begins to build a read model anew, unless that is being done already. Waits for streams that are being condensed: from here on
 * none is, until it has been built.
 */
export async function beginBuilding(
  { db }: Pick<Database, 'db'>,
  name: string,
  codeVersion: number,
): Promise<void> {
  await db.transaction(async (tx) => {
    await runPrepared(tx, 'condensing_exclusive', 'SELECT pg_advisory_xact_lock($1::int, 0)', [
      LOCKS.condensing,
    ]);
    await runPrepared(
      tx,
      'subscription_build',
      `INSERT INTO subscriptions (name, generation, code_version, state, done, origin, to_build)
       SELECT $1::text, coalesce(max(generation), 0) + 1, $2::int, 'building', '${NOTHING_DONE}', ${ORIGIN},
         (SELECT count(*) FROM events WHERE type <> '$Condensed')
           + (SELECT coalesce(sum(events), 0) FROM events_archive WHERE restored_at IS NULL)
       FROM subscriptions WHERE name = $1::text
       ON CONFLICT DO NOTHING`,
      [name, codeVersion],
    );
  });
}

export function listSubscriptions({ db }: Pick<Database, 'db'>): Promise<SubscriptionStatus[]> {
  return runPrepared<SubscriptionStatus>(
    db,
    'subscriptions_list',
    `SELECT name, generation, code_version AS "codeVersion", state, built::float8 AS built, to_build::float8 AS "toBuild",
       (SELECT count(*) FROM (
         SELECT FROM events WHERE (xid >= pg_snapshot_xmax(done) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(done))))
           AND type <> '$Condensed' LIMIT 100000) AS e)::int AS behind
     FROM subscriptions ORDER BY name, generation`,
    [],
  );
}
