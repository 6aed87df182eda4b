import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { LOCKS } from './lock-classes.ts';
import { byIndex } from './reader.ts';

/** How far a read model has come; see the table. */
export interface Subscription {
  generation: number;
  state: 'live' | 'building';
  done: string;
  target: string | null;
  after_pos: string;
  after_archive: string;
  /** Its position, or an event, is of another database. */
  foreign: boolean;
}

export interface SubscriptionStatus {
  name: string;
  generation: number;
  codeVersion: number;
  state: 'live' | 'building' | 'retired';
  /** Events that are visible and not done; counted up to 100,000 or somewhat more. */
  behind: number;
  /** Of a rebuild. */
  built: number;
  toBuild: number;
  /** See ForeignPositionError. */
  foreign: boolean;
}

/** Which rows of a read model, written by which version of its code. */
export interface Generation {
  name: string;
  codeVersion: number;
  generation: number;
}

/** No event is done: transaction ids begin at 3. */
export const NOTHING_DONE = '1:1:';

/** The server that transaction ids belong to, and the database. After a restore from a dump it is another one. */
export const ORIGIN = `(SELECT system_identifier FROM pg_control_system())::text || '/' ||
  (SELECT oid FROM pg_database WHERE datname = current_database())::text`;

/** Whether a position is of another database. */
export const FOREIGN_POSITION = `(origin <> ${ORIGIN} OR pg_snapshot_xmax(done) > pg_snapshot_xmax(pg_current_snapshot()))`;
const LAST_XID = '(SELECT xid FROM events ORDER BY xid DESC LIMIT 1)';
/** Whether there is an event that, by its number, has yet to come. */
export const FOREIGN_EVENT = `coalesce(${LAST_XID} >= pg_snapshot_xmax(pg_current_snapshot()), false)`;
/** Whether there may be an event that is not done. */
const PENDING = `(state = 'building' OR target IS NOT NULL OR ${FOREIGN_POSITION} OR ${FOREIGN_EVENT}
  OR coalesce(${LAST_XID} >= pg_snapshot_xmax(done), false) OR done::text NOT LIKE '%:')`;

/**
 * The subscription with its row locked; none when there is nothing to do, when another process is at it, or when other code has taken
 * its place. A lock that is not needed would cost a write to the disk at each look.
 */
export async function lockSubscription(
  tx: Transaction,
  { name, codeVersion, generation }: Generation,
): Promise<Subscription | undefined> {
  const [row] = await runPrepared<Subscription>(
    tx,
    'lock_subscription',
    `SELECT generation, state, done::text, target::text, after_pos::text, after_archive::text,
       ${FOREIGN_POSITION} OR ${FOREIGN_EVENT} AS foreign
     FROM subscriptions WHERE name = $1::text AND generation = $2::int AND code_version = $3::int AND state <> 'retired'
       AND ${PENDING}
     FOR UPDATE SKIP LOCKED`,
    [name, generation, codeVersion],
  );
  return row;
}

/** Waits until nobody is at what is read, and keeps it so until the end of the transaction. */
export async function lockLive(tx: Transaction, name: string): Promise<void> {
  await runPrepared(
    tx,
    'lock_live',
    `SELECT FROM subscriptions WHERE name = $1::text AND state = 'live' FOR UPDATE`,
    [name],
  );
}

/** All that a snapshot sees is done. */
export async function finish(
  tx: Transaction,
  { name, generation }: Generation,
  o: { now: string; built: number },
): Promise<void> {
  await runPrepared(
    tx,
    'subscription_finish',
    `UPDATE subscriptions SET done = $3::text::pg_snapshot, target = NULL, after_pos = 0, built = built + $4::int
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation, o.now, o.built],
  );
}

/** A large difference: it ends with what the snapshot sees, and what is up to the position is done. */
export async function pageFrom(
  tx: Transaction,
  { name, generation }: Generation,
  o: { target: string; afterPos: string; built: number },
): Promise<void> {
  await runPrepared(
    tx,
    'subscription_page',
    `UPDATE subscriptions SET target = $3::text::pg_snapshot, after_pos = $4::text::bigint, built = built + $5::int
     WHERE name = $1::text AND generation = $2::int`,
    [name, generation, o.target, o.afterPos, o.built],
  );
}

/** The archive is done. */
export async function passArchive(
  tx: Transaction,
  { name, generation }: Generation,
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
export async function switchTo(tx: Transaction, { name, generation }: Generation): Promise<void> {
  await retire(tx, name, 'live');
  await runPrepared(
    tx,
    'subscription_live',
    `UPDATE subscriptions SET state = 'live' WHERE name = $1::text AND generation = $2::int`,
    [name, generation],
  );
}

async function retire(tx: Transaction, name: string, state: 'live' | 'building'): Promise<void> {
  await runPrepared(
    tx,
    'subscription_retire',
    `UPDATE subscriptions SET state = 'retired' WHERE name = $1::text AND state = $2::text`,
    [name, state],
  );
}

export type Begun = 'begun' | 'already_building' | 'not_needed';

/**
 * Begins to build a read model anew. Waits for streams that are being condensed or restored: from here on none is, until it has been
 * built. What other code was building is given up: that of an older version, and whatever it is when somebody `asked` for this.
 *
 * Nobody else's number is ever given out again, as one who still believes to throw away the rows of a generation may do so later.
 */
export async function beginBuilding(
  { db }: Pick<Database, 'db'>,
  name: string,
  codeVersion: number,
  { asked }: { asked: boolean },
): Promise<Begun> {
  const toBuild = await countEvents(db);
  return db.transaction(async (tx) => {
    await runPrepared(tx, 'condensing_exclusive', 'SELECT pg_advisory_xact_lock($1::int, 0)', [
      LOCKS.condensing,
    ]);
    const rows = await generations(tx, name);
    const building = rows.find(({ state }) => state === 'building');
    if (building?.code_version === codeVersion) return 'already_building';
    if (!asked && !isNeeded(rows, codeVersion)) return 'not_needed';
    if (building) await retire(tx, name, 'building');
    await runPrepared(
      tx,
      'subscription_build',
      `INSERT INTO subscriptions (name, generation, code_version, state, done, origin, to_build)
       SELECT $1::text, coalesce(max(generation), 0) + 1, $2::int, 'building', '${NOTHING_DONE}', ${ORIGIN}, $3::bigint
       FROM subscriptions WHERE name = $1::text`,
      [name, codeVersion, String(toBuild)],
    );
    return 'begun';
  });
}

/** Every version of every stream is one event, here or in an archive. Of many streams only about: it is for a progress bar. */
async function countEvents(db: Executor): Promise<number> {
  const [row] = await runPrepared<{ count: number }>(
    db,
    'events_count',
    `SELECT CASE WHEN (SELECT reltuples FROM pg_class WHERE oid = 'streams'::regclass) < 1000000
       THEN (SELECT coalesce(sum(version), 0) FROM streams) ELSE (SELECT coalesce(max(pos), 0) FROM events) END::float8 AS count`,
    [],
  );
  return row?.count ?? 0;
}

export interface GenerationRow {
  generation: number;
  code_version: number;
  state: 'live' | 'building' | 'retired';
}

/** The generations that a read model has, oldest first. */
export function generations(db: Executor, name: string): Promise<GenerationRow[]> {
  return runPrepared<GenerationRow>(
    db,
    'subscription_generations',
    'SELECT generation, code_version, state FROM subscriptions WHERE name = $1::text ORDER BY generation',
    [name],
  );
}

/** Whether this version of the code has to build its rows: there are none, or only such of older code. */
export function isNeeded(rows: readonly GenerationRow[], codeVersion: number): boolean {
  return rows.every((row) => row.state === 'retired' || row.code_version < codeVersion);
}

/** Its rows have been thrown away. The youngest keeps its place, so that its number is not given out again. */
export async function dropGeneration(db: Executor, name: string, generation: number): Promise<void> {
  await runPrepared(
    db,
    'subscription_drop',
    `DELETE FROM subscriptions WHERE name = $1::text AND generation = $2::int AND state = 'retired'
       AND generation < (SELECT max(generation) FROM subscriptions WHERE name = $1::text)`,
    [name, generation],
  );
}

/**
 * How many events the column `done` of a subscription does not see, up to so many; in two parts, as no index answers both at once. For
 * a statement that runs {@link byIndex}: else it may go through all events there are.
 */
export const notDone = (limit: number, and = '') => `(
  (SELECT count(*) FROM (
    SELECT FROM events WHERE xid >= pg_snapshot_xmax(done) AND type <> '$Condensed' ${and} LIMIT ${limit}) AS e)
  + (SELECT count(*) FROM (
    SELECT FROM events WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(done))) AND type <> '$Condensed' ${and} LIMIT ${limit}) AS e))::int`;

/** Whether an event has been waiting for half a minute, so that nobody keeps this read model up to date. */
export async function isNeglected(
  { db }: Pick<Database, 'db'>,
  name: string,
  generation: number,
): Promise<boolean> {
  const look = `SELECT ${notDone(1, `AND at < clock_timestamp() - interval '30 seconds'`)} > 0 AS neglected
    FROM subscriptions WHERE name = $1::text AND generation = $2::int`;
  const [row] = await db.transaction((tx) =>
    byIndex(tx, () =>
      runPrepared<{ neglected: boolean }>(tx, 'subscription_neglected', look, [name, generation]),
    ),
  );
  return row?.neglected ?? false;
}

/**
 * Forgets a read model that no code has any more: until then no stream is condensed, as it has not done the events. Its numbers stay
 * taken, and its rows are for the migration that drops their table, or for the code when it comes back. False: there was none.
 */
export async function forgetSubscription({ db }: Pick<Database, 'db'>, name: string): Promise<boolean> {
  const { count } = await runPrepared(
    db,
    'subscription_forget',
    `UPDATE subscriptions SET state = 'retired' WHERE name = $1::text AND state <> 'retired'`,
    [name],
  );
  return count > 0;
}

export function listSubscriptions({ db }: Pick<Database, 'db'>): Promise<SubscriptionStatus[]> {
  const list = `SELECT name, generation, code_version AS "codeVersion", state, built::float8 AS built, to_build::float8 AS "toBuild",
      ${FOREIGN_POSITION} OR ${FOREIGN_EVENT} AS foreign,
      CASE WHEN state = 'retired' THEN 0 ELSE ${notDone(100_000)} END AS behind
    FROM subscriptions ORDER BY name, generation`;
  return db.transaction((tx) =>
    byIndex(tx, () => runPrepared<SubscriptionStatus>(tx, 'subscriptions_list', list, [])),
  );
}
