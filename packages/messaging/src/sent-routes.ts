import type { Database } from '@sidecart/kit/db';
import { fieldErrors, ProblemError } from '@sidecart/kit/problem';
import { sql } from 'drizzle-orm';
import type { Hono } from 'hono';
import { z } from 'zod';
import { buildEnvelope, type CloudEvent, type StoredHeaders } from './envelope.ts';
import { SENT_DAYS } from './limits.ts';
import { slotOf } from './slot.ts';

/** Ids in one page. */
export const PAGE = 5000;
/** Messages in one answer; the sidecar takes 4 MiB, so a few large ones end it earlier. */
const MESSAGES = 100;
const MESSAGES_BYTES = 2_000_000;

/** The server, its timeline and a snapshot of it: a restored database is another one, whatever its transaction numbers. */
const Snapshot = z.string().refine(isSnapshot, 'Expected what an earlier answer said');
const Number64 = z.string().regex(/^\d{1,18}$/, 'Expected a number as a string');

/** Whether the server would take it for one: the end is not before the beginning, and what was under way lies between them, in order. */
function isSnapshot(text: string): boolean {
  const parts = /^\d{1,20}\.\d{1,10}\/([1-9]\d{0,18}):(\d{1,19}):((?:\d{1,19}(?:,\d{1,19})*)?)$/.exec(text);
  if (!parts) return false;
  const [, from = '', to = '', list = ''] = parts;
  const open = list === '' ? [] : list.split(',').map(BigInt);
  const all = [BigInt(from), ...open, BigInt(to)];
  return all.every((xid, i) => xid >= (all[i - 1] ?? 0n)) && open.at(-1) !== BigInt(to);
}

/** What a receiver asks. */
export const SentQuestion = z.discriminatedUnion('ask', [
  /** Which messages were sent since then; `target` and `after` go on with a page. */
  z.strictObject({
    ask: z.literal('ids'),
    since: Snapshot.optional(),
    target: Snapshot.optional(),
    after: z
      .string()
      .regex(/^\d{1,19}:\d{1,18}$/)
      .optional(),
  }),
  /** Messages by the ids of such a page. */
  z.strictObject({ ask: z.literal('messages'), ids: z.array(Number64).min(1).max(MESSAGES) }),
  /** Messages of a key by their numbers. */
  z.strictObject({ ask: z.literal('key'), key: z.string().max(512), from: Number64, to: Number64 }),
]);

/** One page of what was sent. */
export interface SentIds {
  /** The ids that `messages` takes, and those of the events. */
  ids: [id: string, eventId: string][];
  target: string;
  /** Where the next page begins; null after the last. */
  after: string | null;
  /** The sender's database is another one than that which said `since`: compare from the beginning. */
  reset: boolean;
}

export interface SentMessages {
  messages: CloudEvent[];
  /** Those of the ids that are kept no more. */
  gone: string[];
}

export interface SentOfKey {
  messages: CloudEvent[];
  /** The lowest number of the key that is still kept; null when none is. */
  first: string | null;
  /** Some of them have not been sent yet, or nobody has noted that they were. */
  unsent: boolean;
}

/**
 * Mounts `POST /sent/<topic>`, which tells the receivers of a topic what this service has sent, so that they find what never
 * came. Which sidecars may ask for which topic is in the access rules.
 *
 * What was sent since is the difference of two snapshots of the database: rows that are visible now and were not then. A time or a number
 * would miss what commits late (messaging by snapshots as in PgQ, https://github.com/pgq/pgq).
 */
export function mountSent(
  // biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
  app: Hono<any, any, any>,
  o: { service: string; database: Database },
): void {
  app.post('/sent/:topic', async (c) => {
    const input = await c.req.json();
    const parsed = SentQuestion.safeParse(input);
    if (!parsed.success)
      throw new ProblemError('validation_failed', { errors: fieldErrors(parsed.error, 'json', input) });
    const question = parsed.data;
    const topic = c.req.param('topic');
    if (question.ask === 'ids') return c.json(await sentIds(o.database, topic, question));
    if (question.ask === 'messages') return c.json(await sentMessages(o, topic, question.ids));
    return c.json(await sentOfKey(o, topic, question));
  });
}

async function sentIds(
  { db }: Database,
  topic: string,
  {
    since,
    target,
    after,
  }: { since?: string | undefined; target?: string | undefined; after?: string | undefined },
): Promise<SentIds> {
  // By the log that is written now: what pg_control_checkpoint says is the old timeline until a standby that took over has ended its
  // first checkpoint, minutes later.
  const [now] = await db.execute<{ server: string; snapshot: string }>(sql`
    SELECT system_identifier || '.' || ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS server,
      pg_current_snapshot()::text AS snapshot
    FROM pg_control_system()`);
  if (!now) throw new Error('The server does not say who it is');
  const [from, to] = [since?.split('/'), target?.split('/')];
  if ([from, to].some((given) => given && given[0] !== now.server))
    return { ids: [], target: '', after: null, reset: true };
  const [end = '', begin] = [to?.[1] ?? now.snapshot, from?.[1]];
  const [xid = '0', id = '0'] = after?.split(':') ?? [];
  // Those that were under way at `since`, all in the first page; then by transaction and id, as the index has them.
  const late =
    after || !begin
      ? []
      : await rowsOf(
          db,
          sql`
      SELECT xid::text, id::text, event_id FROM sent
      WHERE topic = ${topic} AND ${KEPT} AND xid IN (SELECT pg_snapshot_xip(${begin}::pg_snapshot))
        AND xid >= pg_snapshot_xmin(${begin}::pg_snapshot) AND xid < pg_snapshot_xmax(${begin}::pg_snapshot)
        AND pg_visible_in_snapshot(xid, ${end}::pg_snapshot)`,
        );
  const page = await rowsOf(
    db,
    sql`
    SELECT xid::text, id::text, event_id FROM sent
    WHERE (xid, id) > (${after ? xid : (begin?.split(':')[1] ?? '0')}::text::xid8, ${after ? id : '-1'}::bigint)
      AND topic = ${topic} AND ${KEPT} ${begin === undefined ? sql`` : upTo(end)}
    ORDER BY sent.xid, sent.id LIMIT ${PAGE}`,
  );
  const last = page.at(-1);
  return {
    ids: [...late, ...page].map((row) => [row.id, row.event_id]),
    target: `${now.server}/${end}`,
    after: page.length === PAGE && last ? `${last.xid}:${last.id}` : null,
    reset: false,
  };
}

/**
 * Only where there is a beginning: rows of a restored database have transaction numbers of another life, often higher ones. All of these belong to
 * the first comparison, and none to those behind it, which do not go over them either: the index ends where the snapshot does.
 */
const upTo = (end: string) =>
  sql`AND xid < pg_snapshot_xmax(${end}::pg_snapshot) AND pg_visible_in_snapshot(xid, ${end}::pg_snapshot)`;

/** Older ones may be forgotten by an inbox that had them, and would be handled again. */
const KEPT = sql`sent_at > clock_timestamp() - make_interval(days => ${SENT_DAYS})`;

async function rowsOf(db: Database['db'], query: ReturnType<typeof sql>) {
  return db.execute<{ xid: string; id: string; event_id: string }>(query);
}

async function sentMessages(
  { service, database }: { service: string; database: Database },
  topic: string,
  ids: string[],
): Promise<SentMessages> {
  const rows = await database.db.execute<SentRow>(sql`
    SELECT ${COLUMNS} FROM sent
    WHERE topic = ${topic} AND ${KEPT}
      AND id IN (SELECT value::bigint FROM json_array_elements_text(${JSON.stringify(ids)}::text::json))
    ORDER BY sent.id`);
  const there = new Set([...rows].map(({ id }) => id));
  return { messages: envelopes(service, topic, rows), gone: ids.filter((id) => !there.has(id)) };
}

async function sentOfKey(
  { service, database }: { service: string; database: Database },
  topic: string,
  { key, from, to }: { key: string; from: string; to: string },
): Promise<SentOfKey> {
  const rows = await database.db.execute<SentRow>(sql`
    SELECT ${COLUMNS} FROM sent
    WHERE topic = ${topic} AND msg_key = ${key} AND key_seq BETWEEN ${from}::bigint AND ${to}::bigint AND ${KEPT}
    ORDER BY sent.key_seq LIMIT ${MESSAGES}`);
  const [row] = await database.db.execute<{ first: string | null; unsent: boolean }>(sql`
    SELECT (SELECT min(key_seq)::text FROM sent WHERE topic = ${topic} AND msg_key = ${key} AND ${KEPT}) AS first,
      EXISTS (
        SELECT FROM outbox WHERE slot = ${slotOf(key)} AND topic = ${topic} AND msg_key = ${key} AND key_seq <= ${to}::bigint
      ) AS unsent`);
  return {
    messages: envelopes(service, topic, rows),
    first: row?.first ?? null,
    unsent: row?.unsent ?? false,
  };
}

const COLUMNS = sql`id::text, msg_key, event_id, key_seq::text, type, payload, headers, octet_length(payload::text) + octet_length(headers::text) AS size`;

interface SentRow extends Record<string, unknown> {
  id: string;
  msg_key: string;
  event_id: string;
  key_seq: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
  size: number;
}

/** As they were published, as many as fit into one answer, the first in any case. */
function envelopes(service: string, topic: string, rows: Iterable<SentRow>): CloudEvent[] {
  let size = 0;
  const messages: CloudEvent[] = [];
  for (const row of rows) {
    size += row.size;
    if (messages.length > 0 && size > MESSAGES_BYTES) break;
    const { msg_key: msgKey, event_id: eventId, key_seq: keySeq, type, payload, headers } = row;
    messages.push(buildEnvelope(service, { topic, msgKey, eventId, keySeq, type, payload, headers }));
  }
  return messages;
}
