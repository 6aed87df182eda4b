import type { Database, Executor } from '@sidecart/kit/db';
import { and, asc, desc, eq, getTableColumns, lt } from 'drizzle-orm';
import { readDelivery } from './delivery.ts';
import { type ReceivedEnvelope, senderOf } from './envelope.ts';
import { type DeadLetterState, deadLetter, deadLetterAction } from './schema.ts';

/** A dead letter in a list. Times are RFC 3339, 64-bit numbers are strings. */
export interface DeadLetterSummary {
  id: string;
  topic: string;
  event_id: string;
  type: string | null;
  key: string | null;
  sequence: string | null;
  sender: string | null;
  holds_key: boolean;
  reason: string;
  detail: string;
  attempts: number;
  state: DeadLetterState;
  died_at: string;
  resolved_at: string | null;
}

export interface DeadLetterView extends DeadLetterSummary {
  headers: Record<string, string>;
  /** The bytes as they are, or in base64 when they are no text in UTF-8. */
  body: string;
  encoding: 'utf-8' | 'base64';
  actions: { at: string; actor: string; action: string; note: string }[];
}

/** All but the content: a page of large messages is more than a service has memory for. */
const { body: _body, headers: _headers, ...SUMMARY } = getTableColumns(deadLetter);

/** Dead letters, the newest first; `before` is the id of the last one of the page before. */
export async function listDeadLetters(
  db: Executor,
  o: { state: DeadLetterState; topic?: string | undefined; before?: bigint | undefined; limit: number },
): Promise<DeadLetterSummary[]> {
  const rows = await db
    .select(SUMMARY)
    .from(deadLetter)
    .where(
      and(
        eq(deadLetter.state, o.state),
        o.topic === undefined ? undefined : eq(deadLetter.topic, o.topic),
        o.before === undefined ? undefined : lt(deadLetter.id, o.before),
      ),
    )
    .orderBy(desc(deadLetter.id))
    .limit(o.limit);
  return rows.map(summary);
}

/** One dead letter with its bytes and with what people did about it. */
export async function findDeadLetter(db: Executor, id: bigint): Promise<DeadLetterView | undefined> {
  const [row] = await db.select().from(deadLetter).where(eq(deadLetter.id, id));
  if (!row) return undefined;
  const actions = await db
    .select()
    .from(deadLetterAction)
    .where(eq(deadLetterAction.deadLetterId, id))
    .orderBy(asc(deadLetterAction.id));
  return {
    ...summary(row),
    ...bodyText(row.body),
    headers: row.headers,
    actions: actions.map(({ at, actor, action, note }) => ({ at: at.toISOString(), actor, action, note })),
  };
}

/** What an edit puts in place of the message's data, or of the whole message when its envelope cannot be read. */
export type Edit = { data: unknown } | { envelope: Record<string, unknown> };

export type EditResult = 'edited' | 'not_found' | 'not_waiting' | { refused: string };

/**
 * Changes what a redrive will handle. The message keeps its id, its sender, its key and its number: redriven elsewhere it
 * would leave its key held. The bytes before and who changed them are kept.
 */
export async function editDeadLetter(
  { db }: Database,
  id: bigint,
  edit: Edit,
  by: { actor: string; note: string },
): Promise<EditResult> {
  return db.transaction(async (tx) => {
    const [row] = await tx.select().from(deadLetter).where(eq(deadLetter.id, id)).for('update');
    if (!row) return 'not_found';
    if (row.state !== 'waiting') return 'not_waiting';
    const before = readDelivery(row.body);
    if ('data' in edit && before.fault)
      return { refused: `The envelope cannot be read (${before.fault.message}): give a whole one` };
    const parsed: object = 'data' in edit ? JSON.parse(row.body.toString('utf8')) : {};
    const changed = 'data' in edit ? { ...parsed, data: edit.data } : edit.envelope;
    const body = Buffer.from(JSON.stringify(changed));
    const after = readDelivery(body);
    if (after.fault || !after.envelope) return { refused: after.fault?.message ?? 'No envelope' };
    const refused = before.envelope
      ? otherMessage(before.envelope, after.envelope)
      : otherPlace(row, after.envelope);
    if (refused !== undefined) return { refused };
    await tx
      .update(deadLetter)
      .set({ body, type: after.envelope.type, msgKey: after.envelope.partitionkey })
      .where(eq(deadLetter.id, id));
    await tx.insert(deadLetterAction).values({ deadLetterId: id, action: 'edit', before: row.body, ...by });
    return 'edited';
  });
}

function otherMessage(was: ReceivedEnvelope, now: ReceivedEnvelope): string | undefined {
  const same =
    now.id === was.id &&
    now.source === was.source &&
    now.partitionkey === was.partitionkey &&
    now.sequence === was.sequence;
  if (same) return undefined;
  return `id, source, partitionkey and sequence must stay ${was.id}, ${was.source ?? 'absent'}, ${was.partitionkey} and ${was.sequence}`;
}

/** Of a message that never came nothing can be read, and yet its key is held at its place. */
function otherPlace(
  { sender, msgKey, keySeq }: typeof deadLetter.$inferSelect,
  now: ReceivedEnvelope,
): string | undefined {
  if (sender === null || msgKey === null || keySeq === null) return undefined;
  if (senderOf(now) === sender && now.partitionkey === msgKey && now.sequence === String(keySeq))
    return undefined;
  return `sender, partitionkey and sequence must be ${sender}, ${msgKey} and ${keySeq}`;
}

function summary(row: Omit<typeof deadLetter.$inferSelect, 'body' | 'headers'>): DeadLetterSummary {
  return {
    id: String(row.id),
    topic: row.topic,
    event_id: row.eventId,
    type: row.type,
    key: row.msgKey,
    sequence: row.keySeq === null ? null : String(row.keySeq),
    sender: row.sender,
    holds_key: row.holdsKey,
    reason: row.reason,
    detail: row.detail,
    attempts: row.attempts,
    state: row.state,
    died_at: row.diedAt.toISOString(),
    resolved_at: row.resolvedAt?.toISOString() ?? null,
  };
}

function bodyText(body: Buffer): { body: string; encoding: 'utf-8' | 'base64' } {
  try {
    return { body: new TextDecoder('utf-8', { fatal: true }).decode(body), encoding: 'utf-8' };
  } catch {
    return { body: body.toString('base64'), encoding: 'base64' };
  }
}
