import { LOCKS } from './lock-classes.ts';
import { checkOutbox } from './outbox-check.ts';
import { SELF } from './outbox-insert.ts';
import {
  depthOf,
  type ReadLimit,
  type SlotDepth,
  type SlotRecord,
  type SlotRows,
  slotRows,
  toStored,
} from './relay-session.ts';
import { asJson, askOfSlots, openSlotSession, type SlotSession } from './slot-session.ts';

/** The connection by which a local worker owns slots, and what it asks outbox_local. */
export interface LocalSession extends SlotSession {
  /**
   * Rows with an id above the given one per slot, of each slot so many as {@link ReadLimit} lets; not those of the given keys, nor
   * of keys that a dead letter holds.
   */
  read(after: ReadonlyMap<number, bigint>, without: readonly string[], limit: ReadLimit): Promise<SlotRows>;
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

    async read(after, without, limit) {
      const from = (slots: readonly number[]) =>
        slots.map((slot) => ({ slot, after: String(after.get(slot)) }));
      // The keys that are held are found in the same statement: between two of them a message could become a dead letter,
      // and the one behind it would be taken for the next.
      const rows = await askOfSlots([...after.keys()], (slots) =>
        session.run(
          (sql) => sql<SlotRecord[]>`
          SELECT * FROM json_to_recordset(${asJson(from(slots))}::text::json) AS s (slot smallint, after bigint)
          CROSS JOIN LATERAL (SELECT o.*, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
            SELECT id, outbox_local.slot, msg_key, event_id, key_seq, type, payload, headers,
              octet_length(payload::text) + octet_length(headers::text) AS bytes
            FROM outbox_local
            WHERE slot = s.slot AND id > s.after
              AND msg_key <> ALL (ARRAY(SELECT json_array_elements_text(${asJson(without)}::text::json)))
              AND msg_key <> ALL (ARRAY(
                SELECT msg_key FROM dead_letter
                WHERE state = 'waiting' AND topic = ${SELF} AND holds_key AND msg_key IS NOT NULL))
            ORDER BY id LIMIT ${limit.rows}
          ) AS o) AS counted WHERE before < ${limit.bytes} ORDER BY id`,
        ),
      );
      return slotRows(
        rows.map((row) => ({ ...toStored(row), topic: SELF })),
        limit,
      );
    },

    depth: (floorOf) =>
      askOfSlots(session.owned(), (slots) =>
        session.run((sql) => depthOf(sql, 'outbox_local', slots, floorOf)),
      ),
  };
}
