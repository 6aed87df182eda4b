import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
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
    id: bigint('id', { mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
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
    // The only index. With one by id alone beside it that one is taken for reading a slot, of all slots' rows, where the statistics
    // know but one slot; and a writer would pay for it with every row.
    primaryKey({ name: 'outbox_pkey', columns: [t.slot, t.id] }),
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
 * Messages of this service to itself, which need no broker. Handled by its own local worker, which deletes each in the
 * transaction of its effect.
 */
export const outboxLocal = pgTable(
  'outbox_local',
  {
    /** The order of handling. CACHE 1, as with the outbox. */
    id: bigint('id', { mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
    slot: smallint('slot').notNull(),
    msgKey: text('msg_key').notNull(),
    eventId: uuid('event_id').notNull(),
    /** 0 where the handler wants no order: then nobody counts, and writers of one key wait for nobody. */
    keySeq: bigint('key_seq', { mode: 'bigint' }).notNull(),
    type: text('type').notNull(),
    payload: json('payload').notNull(),
    headers: json('headers').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ name: 'outbox_local_pkey', columns: [t.slot, t.id] }),
    check('outbox_local_slot_range', sql.raw(`"slot" >= 0 AND "slot" < ${OUTBOX_SLOTS}`)),
  ],
);

/**
 * Messages whose time has not come. They have no number and no place in the order of their key yet: both are given out when
 * the row moves to the outbox, so that a message for next week holds up nothing until then.
 */
export const outboxDelayed = pgTable(
  'outbox_delayed',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** Judged by the database's clock alone. */
    dueAt: instant('due_at').notNull(),
    topic: text('topic').notNull(),
    msgKey: text('msg_key').notNull(),
    eventId: uuid('event_id').notNull(),
    type: text('type').notNull(),
    payload: json('payload').notNull(),
    headers: json('headers').notNull(),
    createdAt: instant('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    index('outbox_delayed_due').on(t.dueAt, t.id),
    // What is due asks of its key what was due before, of which there may be a lot; and condensing of each stream whether something of it still
    // waits, and most of these wait for weeks.
    index('outbox_delayed_of_key').on(t.msgKey, t.dueAt),
  ],
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
    outcome: text('outcome', {
      enum: ['applied', 'unhandled', 'dead_letter', 'parked', 'failing'],
    }).notNull(),
    receivedAt: instant('received_at').notNull().default(sql`now()`),
  },
  (t) => [primaryKey({ columns: [t.topic, t.eventId] })],
);

/**
 * How far the messages of a key have been dealt with: all up to `last_seq`. Kept for topics with a handler that wants the order.
 * The row is locked while one of the key's messages is dealt with, so replicas take turns.
 */
export const inboxKey = pgTable(
  'inbox_key',
  {
    topic: text('topic').notNull(),
    sender: text('sender').notNull(),
    msgKey: text('msg_key').notNull(),
    lastSeq: bigint('last_seq', { mode: 'bigint' }).notNull(),
    /** Rows of the key in inbox_parked. A count beside the lock, because a statement that waited for the lock sees what is new in this row only. */
    waiting: integer('waiting').notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.topic, t.sender, t.msgKey] }),
    index('inbox_key_waiting').on(t.topic, t.sender, t.msgKey).where(sql`${t.waiting} > 0`),
  ],
);

/** Messages beyond the next one of their key. */
export const inboxParked = pgTable(
  'inbox_parked',
  {
    topic: text('topic').notNull(),
    sender: text('sender').notNull(),
    msgKey: text('msg_key').notNull(),
    seq: bigint('seq', { mode: 'bigint' }).notNull(),
    eventId: text('event_id').notNull(),
    /** The delivered bytes. Null: it needed no order and has been dealt with, the key has only to pass it. */
    body: bytea('body'),
    /** The HTTP headers of the delivery, without secrets. */
    headers: jsonb('headers').$type<Record<string, string>>().notNull().default({}),
    parkedAt: instant('parked_at').notNull().default(sql`now()`),
  },
  (t) => [primaryKey({ columns: [t.topic, t.sender, t.msgKey, t.seq] })],
);

/**
 * Messages that fail again and again, and for no reason that is known to last: taken from the broker, and tried again from here until
 * they are handled (set-aside.ts).
 */
export const inboxFailing = pgTable(
  'inbox_failing',
  {
    topic: text('topic').notNull(),
    eventId: text('event_id').notNull(),
    /** Its place in the order of its key. */
    sender: text('sender').notNull(),
    msgKey: text('msg_key').notNull(),
    keySeq: bigint('key_seq', { mode: 'bigint' }).notNull(),
    /** Its key goes on without it, as its handler does not want the order. Else, where the order is counted, what is behind it waits. */
    passed: boolean('passed').notNull(),
    /** The delivered bytes. */
    body: bytea('body').notNull(),
    /** The HTTP headers of the delivery, without secrets. */
    headers: jsonb('headers').$type<Record<string, string>>().notNull(),
    /** Tries from here that have begun. */
    tries: integer('tries').notNull().default(0),
    /** Not before; while it is being tried, when it would be again if the process died. Judged by the database's clock alone. */
    dueAt: instant('due_at').notNull().default(sql`clock_timestamp()`),
    /** What the latest try failed for. */
    why: text('why').notNull(),
    setAsideAt: instant('set_aside_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ columns: [t.topic, t.eventId] }),
    index('inbox_failing_due').on(t.topic, t.dueAt),
    index('inbox_failing_tries').on(t.topic, t.tries, t.dueAt),
    index('inbox_failing_key').on(t.topic, t.sender, t.msgKey, t.keySeq),
  ],
);

/**
 * Messages whose handling began and never ended, because the process did not survive it. Counted only after a process of this
 * service ended without saying so (see poison.ts).
 */
export const inboxStart = pgTable(
  'inbox_start',
  {
    topic: text('topic').notNull(),
    eventId: text('event_id').notNull(),
    starts: integer('starts').notNull(),
    startedAt: instant('started_at').notNull().default(sql`now()`),
  },
  (t) => [primaryKey({ columns: [t.topic, t.eventId] })],
);

/** The processes of this service that handle messages. A row goes when its process ends in order. */
export const consumerRun = pgTable('consumer_run', {
  id: uuid('id').primaryKey(),
  instance: text('instance').notNull(),
  beatAt: instant('beat_at').notNull().default(sql`clock_timestamp()`),
  /** When it was found to have ended without saying so. */
  foundDeadAt: instant('found_dead_at'),
});

/** How far the receiver has compared what it got of a topic with what a sender has sent. */
export const repairCursor = pgTable(
  'repair_cursor',
  {
    topic: text('topic').notNull(),
    sender: text('sender').notNull(),
    /** The sender's snapshot up to which all has been compared; null before the first comparison has ended. */
    since: text('since'),
    /** Of a comparison under way: its end, and the page it has come to. */
    target: text('target'),
    after: text('after'),
    /** When a message that was new to the comparison was last found to have been delivered: what was missing before was overtaken. */
    passedAt: instant('passed_at'),
    /** Until then one replica is at it. */
    leaseUntil: instant('lease_until').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [primaryKey({ columns: [t.topic, t.sender] })],
);

/** Messages that a sender has sent and that had not come when they were compared; most of them are only late. */
export const repairMissing = pgTable(
  'repair_missing',
  {
    topic: text('topic').notNull(),
    eventId: text('event_id').notNull(),
    sender: text('sender').notNull(),
    /** The sender's own number of the message, by which it finds it again. */
    sentId: bigint('sent_id', { mode: 'bigint' }).notNull(),
    noticedAt: instant('noticed_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ columns: [t.topic, t.eventId] }),
    // The oldest first, in steps: a new receiver may miss millions.
    index('repair_missing_oldest').on(t.topic, t.sender, t.noticedAt, t.sentId),
  ],
);

/** Why a message cannot be handled, now or later. `lost`: the sender has it no more, and it never came. */
export type DeadLetterReason = 'envelope' | 'schema' | 'unknown_type' | 'invariant' | 'poison' | 'lost';

export const DEAD_LETTER_STATES = ['waiting', 'redriven', 'discarded'] as const;
export type DeadLetterState = (typeof DEAD_LETTER_STATES)[number];

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
    sender: text('sender'),
    keySeq: bigint('key_seq', { mode: 'bigint' }),
    /** Whether its handler wants the order: then the messages behind it on its key wait for a decision. */
    holdsKey: boolean('holds_key').notNull().default(false),
    state: text('state', { enum: DEAD_LETTER_STATES }).notNull().default('waiting'),
    reason: text('reason').$type<DeadLetterReason>().notNull(),
    detail: text('detail').notNull(),
    /** The delivered bytes as they came: an envelope that cannot be read is kept too. */
    body: bytea('body').notNull(),
    /** The HTTP headers of the delivery, without secrets. */
    headers: jsonb('headers').$type<Record<string, string>>().notNull(),
    /** Deliveries that this process saw, the last one included; a restart or another replica counts anew. Of one that was set aside, the tries from there. */
    attempts: integer('attempts').notNull(),
    diedAt: instant('died_at').notNull().default(sql`now()`),
    resolvedAt: instant('resolved_at'),
  },
  (t) => [
    unique('dead_letter_event').on(t.topic, t.eventId),
    index('dead_letter_waiting').on(t.id).where(sql`${t.state} = 'waiting'`),
    // What waits on a key is asked of each message behind a dead one, and at each read of a queue.
    index('dead_letter_holding').on(t.topic, t.msgKey).where(sql`${t.state} = 'waiting' AND ${t.holdsKey}`),
  ],
);

/** What people did about a dead letter, and when. */
export const deadLetterAction = pgTable(
  'dead_letter_action',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    deadLetterId: bigint('dead_letter_id', { mode: 'bigint' })
      .notNull()
      .references(() => deadLetter.id),
    at: instant('at').notNull().default(sql`clock_timestamp()`),
    actor: text('actor').notNull(),
    action: text('action', { enum: ['redrive', 'edit', 'discard'] }).notNull(),
    /** What came of it, or why it was done. */
    note: text('note').notNull(),
    /** The bytes before an edit. */
    before: bytea('before'),
  },
  (t) => [index('dead_letter_action_of').on(t.deadLetterId, t.id)],
);
