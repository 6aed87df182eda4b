import { OUTBOX_SLOTS, slotOf } from './slot.ts';
import { asJson, askOfSlots, type Run } from './slot-session.ts';

/** The database is there, and not as the relay needs it. Waiting does not help; the cure does, which the message ends with, too. */
export class OutboxSetupError extends Error {
  override name = 'OutboxSetupError';
  readonly cure: string;
  constructor(message: string, cure: string) {
    super(`${message}. Cure: ${cure}`);
    this.cure = cure;
  }
}

/** Why a worker that had its tables has them no more, for the health details. */
export function whyAway(err: unknown): string {
  const message = err instanceof Error ? err.message : String(err);
  return err instanceof OutboxSetupError ? message : `no database: ${message}`;
}

const TABLES = ['outbox', 'outbox_local', 'outbox_delayed', 'outbox_sequence', 'sent'];
/** Their ids are the order of the messages. */
const QUEUES = ['outbox', 'outbox_local'];
/** Rows of each slot whose slot is worked out again, from its beginning. A key that waits has many of them, which may be all of the first. */
const FIRST = 2000;
/** And from its end. */
const LAST = 20;

/**
 * Refuses what would lose the order of messages.
 *
 * @throws OutboxSetupError when a table is missing, ids are taken in advance, or rows wait in other slots than their keys belong to.
 */
export async function checkOutbox(run: Run): Promise<void> {
  const present = await run(
    (sql) => sql<{ name: string }[]>`
      SELECT relname AS name FROM pg_class WHERE oid IN (
        SELECT to_regclass(name) FROM json_array_elements_text(${JSON.stringify(TABLES)}::text::json) AS name)`,
  );
  const missing = TABLES.filter((table) => !present.some(({ name }) => name === table));
  if (missing.length > 0)
    throw new OutboxSetupError(`Missing tables: ${missing.join(', ')}`, 'run the migrations');
  for (const queue of QUEUES) {
    await checkIds(run, queue);
    await checkSlots(run, queue);
  }
}

/** Ids that a session takes in advance (CACHE > 1) would be used in another order than they were taken. */
async function checkIds(run: Run, table: string): Promise<void> {
  const [found] = await run(
    (sql) => sql<{ cache: string }[]>`
      SELECT seqcache AS cache FROM pg_sequence
      WHERE seqincrement > 0 AND seqrelid = pg_get_serial_sequence(${table}, 'id')::regclass`,
  );
  if (found?.cache === '1') return;
  throw new OutboxSetupError(
    `The ids of ${table} must come from an ascending sequence with CACHE 1, found ${found?.cache ?? 'none'}`,
    `ALTER TABLE ${table} ALTER COLUMN id SET INCREMENT BY 1 SET CACHE 1`,
  );
}

/**
 * Two rows of one key in two slots would be handled by two owners at once. The number of slots changes by a new version only,
 * so a look at the first and the last rows of each slot is enough to see it: about half of all keys would be elsewhere.
 */
async function checkSlots(run: Run, table: string): Promise<void> {
  const all = Array.from({ length: OUTBOX_SLOTS }, (_, slot) => slot);
  const within = await askOfSlots(all, (slots) =>
    run(
      (sql) => sql<{ slot: number; msg_key: string }[]>`
        SELECT DISTINCT r.slot, r.msg_key FROM json_array_elements_text(${asJson(slots)}::text::json) AS s (slot) CROSS JOIN LATERAL (
          (SELECT slot, msg_key FROM ${sql(table)} WHERE slot = s.slot::smallint ORDER BY id LIMIT ${FIRST})
          UNION ALL
          (SELECT slot, msg_key FROM ${sql(table)} WHERE slot = s.slot::smallint ORDER BY id DESC LIMIT ${LAST})) AS r`,
    ),
  );
  const beyond = await run(
    (sql) => sql<{ slot: number; msg_key: string }[]>`
      SELECT slot, msg_key FROM ${sql(table)} WHERE slot >= ${OUTBOX_SLOTS} LIMIT ${LAST}`,
  );
  const rows = [...within, ...beyond];
  const wrong = rows.find(({ slot, msg_key }) => slot !== slotOf(msg_key));
  if (!wrong) return;
  throw new OutboxSetupError(
    `${table} has rows that were written for another number of slots than ${OUTBOX_SLOTS}: key ${wrong.msg_key} waits in slot ` +
      `${wrong.slot} and belongs to slot ${slotOf(wrong.msg_key)}`,
    `run the version that wrote them until ${table} is empty, then this one`,
  );
}
