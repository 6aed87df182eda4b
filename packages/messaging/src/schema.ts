import { sql } from 'drizzle-orm';
import {
  bigint,
  check,
  customType,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import { OUTBOX_SLOTS } from './slot.ts';

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });

/**
 * Messages that are committed and not yet acknowledged by the broker: a queue, not a history. There is no cursor: what
 * is here is unsent (transactional outbox, https://microservices.io/patterns/data/transactional-outbox.html).
 * `payload` and `headers` are `json`, not `jsonb`, because nothing but the relay ever reads them.
 */
export const outbox = pgTable(
  'outbox',
  {
    /** The order of publishing. CACHE 1 (the default) is part of the contract; the relay refuses anything else. */
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    slot: smallint('slot').notNull(),
    topic: text('topic').notNull(),
    msgKey: text('msg_key').notNull(),
    /** The CloudEvent id, which is also the broker's message id and the receiver's inbox key. */
    eventId: uuid('event_id').notNull(),
    /** 1, 2, 3 without gaps per topic and key; see {@link outboxSequence}. */
    keySeq: bigint('key_seq', { mode: 'bigint' }).notNull(),
    type: text('type').notNull(),
    payload: json('payload').notNull(),
    /** The other attributes of the envelope. */
    headers: json('headers').notNull(),
    /** For the age of the queue only, never for its order. */
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    index('outbox_slot').on(t.slot, t.id),
    check('outbox_slot_range', sql.raw(`"slot" >= 0 AND "slot" < ${OUTBOX_SLOTS}`)),
  ],
);

/**
 * The last sequence number given out per topic and key. Its row is locked before the outbox id is taken and stays
 * locked until the commit, so messages of one key commit in the order of their ids.
 */
export const outboxSequence = pgTable(
  'outbox_sequence',
  {
    topic: text('topic').notNull(),
    msgKey: text('msg_key').notNull(),
    last: bigint('last', { mode: 'bigint' }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.topic, t.msgKey] })],
);

/**
 * Messages that this service is done with (idempotent consumer,
 * https://microservices.io/patterns/communication-style/idempotent-consumer.html). The topic is part of the key so
 * that a publisher on one topic cannot suppress a message of another by using its id.
 */
export const inbox = pgTable(
  'inbox',
  {
    topic: text('topic').notNull(),
    eventId: text('event_id').notNull(),
    outcome: text('outcome', { enum: ['applied', 'unhandled', 'dead_letter'] }).notNull(),
    receivedAt: instant('received_at').notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.topic, t.eventId] }),
    // BRIN: only the hourly purge reads by time, and the rows arrive in that order
    index('inbox_received_at').using('brin', t.receivedAt),
  ],
);

/** Why a message cannot be handled, now or later. */
export type DeadLetterReason = 'envelope' | 'schema' | 'unknown_type' | 'invariant';

/** Messages that can never be handled, kept whole until somebody decides what becomes of them. */
export const deadLetter = pgTable(
  'dead_letter',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    topic: text('topic').notNull(),
    /** The CloudEvent id, or `sha256:<hex of the body>` when the envelope has none that can be read. */
    eventId: text('event_id').notNull(),
    type: text('type'),
    msgKey: text('msg_key'),
    reason: text('reason').$type<DeadLetterReason>().notNull(),
    detail: text('detail').notNull(),
    /** The delivered bytes as they came: an envelope that cannot be read is kept too. */
    body: bytea('body').notNull(),
    /** The HTTP headers of the delivery, without secrets. */
    headers: jsonb('headers').$type<Record<string, string>>().notNull(),
    /** Deliveries that this process saw, the last one included; a restart or another replica counts anew. */
    attempts: integer('attempts').notNull(),
    diedAt: instant('died_at').notNull().default(sql`now()`),
  },
  (t) => [unique('dead_letter_event').on(t.topic, t.eventId)],
);
