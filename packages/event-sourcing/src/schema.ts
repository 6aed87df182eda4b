import { sql } from 'drizzle-orm';
import {
  bigint,
  customType,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' });
const pgSnapshot = customType<{ data: string }>({ dataType: () => 'pg_snapshot' });
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });
const version = (name: string) => bigint(name, { mode: 'number' });

/** One row per thing that has a history: its lock, and the version that the next append expects. */
export const streams = pgTable('streams', {
  streamId: text('stream_id').primaryKey(),
  type: text('type').notNull(),
  /** Of its last event; the first has version 1. */
  version: version('version').notNull(),
  /** The events up to this one have given way to one that says what came of them; 0: none has. */
  condensedVersion: version('condensed_version').notNull().default(0),
  /** When the last event was appended. */
  lastAt: instant('last_at').notNull().default(sql`clock_timestamp()`),
});

/**
 * What happened: the truth that everything else is derived from. `pos` is taken while the stream's row is locked, so within a stream
 * it grows with the version; `xid` tells a reader which events its last look could not see.
 */
export const events = pgTable(
  'events',
  {
    streamId: text('stream_id').notNull(),
    version: version('version').notNull(),
    pos: bigint('pos', { mode: 'bigint' }).notNull().generatedByDefaultAsIdentity(),
    xid: xid8('xid').notNull().default(sql`pg_current_xact_id()`),
    eventId: uuid('event_id').notNull(),
    type: text('type').notNull(),
    /** Of the shape of `data`. */
    schemaVersion: integer('schema_version').notNull(),
    data: jsonb('data').notNull(),
    /** Who, why, which request and trace: see EventMeta. */
    meta: jsonb('meta').notNull(),
    at: instant('at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ columns: [t.streamId, t.version] }),
    index('events_xid').on(t.xid, t.pos),
    uniqueIndex('events_pos').on(t.pos),
  ],
);

/**
 * States kept so that a long stream need not be read from its beginning. Each can be thrown away at any time. Side by side for
 * several versions of the code, as two of them run during an update.
 */
export const snapshots = pgTable(
  'snapshots',
  {
    streamId: text('stream_id').notNull(),
    /** Of the shape of the state: only the running code's own is read. */
    schemaVersion: integer('schema_version').notNull(),
    version: version('version').notNull(),
    /** As text: the checksum is of this very text. */
    state: json('state').notNull(),
    /** SHA-256 of the state's text, in hex. */
    checksum: text('checksum').notNull(),
    takenAt: instant('taken_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [primaryKey({ columns: [t.streamId, t.schemaVersion] })],
);

/** How far the read models have come. One row is live; one beside it may be building what is to take its place. */
export const subscriptions = pgTable(
  'subscriptions',
  {
    name: text('name').notNull(),
    /** The rows of a read model carry it, so that two of them can be in one table. */
    generation: integer('generation').notNull(),
    /** Of the projection's code: another version is never written to by it. 0: of no code, see adoptDatabase. */
    codeVersion: integer('code_version').notNull(),
    state: text('state', { enum: ['live', 'building', 'retired'] }).notNull(),
    /** All events that this snapshot of the database sees are done. */
    done: pgSnapshot('done').notNull(),
    /** While a large difference is done in pieces: what it ends with. */
    target: pgSnapshot('target'),
    /** Of the events between done and target, those up to here are done. */
    afterPos: bigint('after_pos', { mode: 'bigint' }).notNull().default(sql`0`),
    /** While building: archives up to this one are done. */
    afterArchive: bigint('after_archive', { mode: 'bigint' }).notNull().default(sql`0`),
    /** Events done while building, archived ones too, and how many there were to do. */
    built: bigint('built', { mode: 'number' }).notNull().default(0),
    toBuild: bigint('to_build', { mode: 'number' }).notNull().default(0),
    /** The database that `done` belongs to; see ForeignPositionError. */
    origin: text('origin').notNull(),
    startedAt: instant('started_at').notNull().default(sql`clock_timestamp()`),
  },
  (t) => [
    primaryKey({ columns: [t.name, t.generation] }),
    uniqueIndex('subscriptions_live').on(t.name).where(sql`${t.state} = 'live'`),
    uniqueIndex('subscriptions_building').on(t.name).where(sql`${t.state} = 'building'`),
  ],
);

/** The events that a condensed stream had, and who condensed it, when and why. */
export const eventsArchive = pgTable(
  'events_archive',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    streamId: text('stream_id').notNull(),
    fromVersion: version('from_version').notNull(),
    toVersion: version('to_version').notNull(),
    /** Events in it that are not themselves aggregates. */
    events: integer('events').notNull(),
    /** Rows as JSON lines, compressed by gzip; null when they are kept elsewhere, under `location`. */
    content: bytea('content'),
    location: text('location'),
    /** SHA-256 of the lines before their compression, in hex. */
    checksum: text('checksum').notNull(),
    condensedAt: instant('condensed_at').notNull().default(sql`clock_timestamp()`),
    condensedBy: text('condensed_by').notNull(),
    reason: text('reason').notNull(),
    restoredAt: instant('restored_at'),
    restoredBy: text('restored_by'),
    restoreReason: text('restore_reason'),
  },
  (t) => [index('events_archive_stream').on(t.streamId, t.toVersion)],
);
