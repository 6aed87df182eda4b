import type postgres from 'postgres';
import { LOCKS } from './lock-classes.ts';
import { checkOutbox } from './outbox-check.ts';
import { SELF } from './outbox-insert.ts';
import { depthOf, type SlotDepth } from './relay-session.ts';
import { type ReadLimit, readBySlot, type SlotPart } from './slot-read.ts';
import { asJson, askOfSlots, openSlotSession, type SlotSession } from './slot-session.ts';

/** The connection by which a local worker owns slots, and what it asks outbox_local. */
export interface LocalSession extends SlotSession {
  /** What comes behind the given id of each slot; not that of the given keys, nor of keys that a dead letter holds. */
  read(
    after: ReadonlyMap<number, bigint>,
    without: readonly string[],
    limit: ReadLimit,
  ): Promise<Map<number, SlotPart>>;
  /** Of the slots owned. */
  depth(floorOf: (slot: number) => bigint): Promise<SlotDepth[]>;
}

/**
 * Opens the connection and checks the tables.
 *
 * @throws OutboxSetupError as the relay's `openSession` does.
 */
export async function openLocalSession(o: {
  url: string;
  applicationName: string;
  idleSessionTimeoutMs: number;
  onAnnounced: () => void;
}): Promise<LocalSession> {
  const session = await openSlotSession({
    ...o,
    applicationName: `${o.applicationName}-local`,
    locks: { slot: LOCKS.localSlot, alive: LOCKS.localAlive },
    channel: 'sidecart_local',
    check: checkOutbox,
  });
  return {
    ...session,

    read: (after, without, limit) =>
      readBySlot(session.run, after, limit, {
        queue: 'outbox_local',
        leavesOut: (sql) => sql`(${without.length > 0} OR EXISTS (${heldKeys(sql)}))`,
        takes: (sql) => takesOthersThan(sql, without),
      }),

    depth: (floorOf) =>
      askOfSlots(session.owned(), (slots) =>
        session.run((sql) => depthOf(sql, 'outbox_local', slots, floorOf)),
      ),
  };
}

/**
 * By NOT IN, for the reason that a relay does, and of an array, as PostgreSQL makes no hash table of a query of which it expects too many rows.
 * The keys that are held are found in the same statement: between two of them a message could become a dead letter, and the one behind it would be
 * taken for the next.
 */
export function takesOthersThan(sql: postgres.Sql, without: readonly string[]) {
  return sql`
    msg_key NOT IN (SELECT json_array_elements_text(${asJson(without)}::text::json))
    AND msg_key NOT IN (SELECT unnest(ARRAY(${heldKeys(sql)})))`;
}

function heldKeys(sql: postgres.Sql) {
  return sql`
    SELECT msg_key FROM dead_letter
    WHERE state = 'waiting' AND topic = ${SELF} AND holds_key AND msg_key IS NOT NULL`;
}
