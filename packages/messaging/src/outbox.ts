import { childTraceparent, currentContext, newTraceparent, type RequestContext } from '@sidecart/kit/context';
import type { Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { is } from 'drizzle-orm';
import { PgTransaction } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { isAttribute, type StoredHeaders } from './envelope.ts';
import type { Handler } from './handler.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { INSERT_ONE, insertStatement, SELF, type Target } from './outbox-insert.ts';
import { runPrepared } from './prepared.ts';
import { slotOf } from './slot.ts';

/** One kind of message, as a catalogue of contracts describes it. */
export interface MessageType {
  topic: string;
  kind: 'fact' | 'command';
  schema: z.ZodType;
  /** What the message is about. Messages of one sender, topic and key are published in the order of writing. */
  // biome-ignore lint/suspicious/noExplicitAny: each catalogue entry takes its own schema's output
  key: (data: any) => string;
}

/** In a fixed order, so that each set of them is one statement. */
const TARGETS: readonly Target[] = ['broker', 'local', 'unnumbered', 'delayed'];

type OfKind<C extends Record<string, MessageType>, K extends MessageType['kind']> = {
  [T in keyof C & string]: C[T]['kind'] extends K
    ? { type: T; data: z.input<C[T]['schema']>; customerId?: string | undefined } & Timing
    : never;
}[keyof C & string];

/** When a message is to be sent, if not at the commit; one of the two. Judged by the database's clock alone. */
export interface Timing {
  /** Not before this instant. */
  notBefore?: Date | undefined;
  /** So long after it was written, in ms. */
  delayMs?: number | undefined;
}

export interface Outbox<C extends Record<string, MessageType>> {
  /** Writes facts to the outbox as part of `tx`; they are published after its commit (or at their time), or never. */
  publish(tx: Transaction, ...facts: OfKind<C, 'fact'>[]): Promise<void>;
  /**
   * Writes commands to the outbox as part of `tx`; they are published after its commit (or at their time), or never. Those of the
   * topic `self` go to this service's own local handlers, without a broker.
   */
  send(tx: Transaction, ...commands: OfKind<C, 'command'>[]): Promise<void>;
}

/**
 * The writing side of the transactional outbox: a message is a row, written in the transaction of the change that it
 * tells of. Any number of messages is one statement. Data that breaks its schema throws a {@link MessageInvalidError} before anything is
 * written, a key that no receiver could read a TypeError, and a message that would not go through a {@link MessageTooLargeError}. `owns` lists the topics that this
 * service may publish to, `handles` tells the types that it handles itself.
 *
 * A delayed message gets its number and its place in the order of its key when its time has come; until then it holds up nothing.
 *
 * Keys are locked in a fixed order within a call; two calls in one transaction lock in the order of the calls, so
 * transactions that write for the same several keys should use one call. A deadlock ends as a transient error.
 *
 * @example
 * await db.transaction(async (tx) => {
 *   await insertOrder(tx, order);
 *   await outbox.publish(tx, { type: 'OrderPlaced', data: { order_id: order.id, ... } });
 *   await outbox.send(tx, { type: 'ReserveStock', data: { order_id: order.id, lines } });
 * });
 */
export function createOutbox<C extends Record<string, MessageType>>(o: {
  service: string;
  catalog: C;
  owns: readonly string[];
  /** This service's local handler for a type of the topic `self`; default none. */
  handles?: (type: string) => Pick<Handler, 'ordered'> | undefined;
  /** Told where messages were written to; their transaction has not committed yet. */
  onWrite?: (targets: ReadonlySet<Target>) => void;
}): Outbox<C> {
  const own = new Set(o.owns);

  async function write(tx: Transaction, kind: MessageType['kind'], messages: Outgoing[]): Promise<void> {
    if (!is(tx, PgTransaction)) {
      throw new TypeError(
        'The outbox writes in the transaction of the change only: pass the tx of db.transaction()',
      );
    }
    if (messages.length === 0) return;
    const context = currentContext();
    const rows = messages.map((message) => {
      const definition = o.catalog[message.type];
      if (definition?.kind !== kind) throw new TypeError(`${message.type} is no ${kind} of the catalogue`);
      const way = wayOf(message.type, definition.topic);
      const data = requireValid(message, definition);
      const delay = timing(message);
      const target = 'due_at' in delay || 'delay_ms' in delay ? 'delayed' : way;
      return { target, ...outboxRow(definition, message, data, context), ...delay };
    });
    await insertMessages(tx, rows);
    o.onWrite?.(new Set(rows.map(({ target }) => target)));
  }

  function wayOf(type: string, topic: string): Target {
    if (topic === SELF) {
      const handler = o.handles?.(type);
      if (handler) return handler.ordered ? 'local' : 'unnumbered';
      throw new TypeError(`${o.service} has no local handler for ${type}: give it one, or another topic`);
    }
    if (!own.has(topic))
      throw new TypeError(
        `${o.service} may not publish ${type} to topic ${topic}: topology.yaml does not say that it does (publishes, sends)`,
      );
    return 'broker';
  }

  return {
    publish: (tx, ...facts) => write(tx, 'fact', facts),
    send: (tx, ...commands) => write(tx, 'command', commands),
  };
}

interface Outgoing extends Timing {
  type: string;
  data: unknown;
  customerId?: string | undefined;
}

interface OutboxRow {
  target: Target;
  slot: number;
  topic: string;
  msg_key: string;
  event_id: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
  due_at?: Date;
  delay_ms?: number;
}

/** A message whose data breaks the schema of its own type, or has text that nobody could store: nothing was written. */
export class MessageInvalidError extends Error {
  override name = 'MessageInvalidError';
  readonly code = 'message_invalid';
  readonly type: string;
  constructor(type: string, what: string, cause?: z.ZodError) {
    super(`${type} has ${what}`, { cause });
    this.type = type;
  }
}

function requireValid({ type, data }: Outgoing, { schema }: MessageType): unknown {
  const checked = schema.safeParse(data);
  if (checked.success) return checked.data;
  const { error } = checked;
  throw new MessageInvalidError(
    type,
    `data that breaks its schema:\n${z.prettifyError(error)}\nCure: publish what the catalogue (packages/contracts) says of ` +
      'this type, or change its schema there so that those who read it still can',
    error,
  );
}

/** As JSON writes them: NUL, and half of a surrogate pair. Behind an even number of backslashes, or it is a backslash and a word. */
const UNSTORABLE = /(?<!\\)(?:\\\\)*(\\u0000|\\ud[89a-f]..)/;

/** PostgreSQL has no such text: some of its JSON takes it, and whoever wants to read it, here or at a receiver, gets an error. */
function requireStorable(type: string, json: string): void {
  if (!json.includes('\\u')) return;
  const [, found] = UNSTORABLE.exec(json) ?? [];
  if (found)
    throw new MessageInvalidError(
      type,
      `${found} in its data, a character that PostgreSQL cannot store. Cure: refuse it where it comes in, or leave it out`,
    );
}

/** A message that the sidecar would refuse, so that nobody could ever publish it: nothing was written. */
export class MessageTooLargeError extends Error {
  override name = 'MessageTooLargeError';
  readonly code = 'message_too_large';
  readonly type: string;
  /** Of the message with its attributes, as the sidecar writes it. */
  readonly bytes: number;
  readonly limit = MAX_MESSAGE_BYTES;
  constructor(type: string, bytes: number) {
    super(
      `${type} is ${bytes} bytes long as a sidecar writes it, and ${MAX_MESSAGE_BYTES} is what goes through. Cure: store the data ` +
        'where the receiver can ask for it, and send a reference to it',
    );
    this.type = type;
    this.bytes = bytes;
  }
}

/** What goes through no sidecar may be of any size. `texts` are what there is of it as JSON. */
function requireSize({ topic, type }: OutboxRow, ...texts: string[]): void {
  const length = texts.reduce((sum, text) => sum + text.length, 0);
  // A character becomes six bytes at most: most rows need no counting.
  if (topic === SELF || length * 6 <= MAX_MESSAGE_BYTES) return;
  const bytes = texts.reduce((sum, text) => sum + sidecarBytes(text), 0);
  if (bytes > MAX_MESSAGE_BYTES) throw new MessageTooLargeError(type, bytes);
}

/**
 * What JSON is in bytes when the sidecar has written it anew: Go escapes more than JavaScript does, and the broker gets what Go wrote.
 */
function sidecarBytes(json: string): number {
  let bytes = Buffer.byteLength(json);
  for (let i = 0; i < json.length; i += 1) {
    const code = json.charCodeAt(i);
    if (code === 0x3c || code === 0x3e || code === 0x26)
      bytes += 5; // < > & are six bytes then, as \u003c
    else if (code === 0x2028 || code === 0x2029) bytes += 3; // six instead of three
  }
  return bytes;
}

/** Without it no receiver could read the message: each would make a dead letter of it. Of the others an unusable one counts as absent. */
function requireAttribute(type: string, name: string, value: unknown): void {
  if (isAttribute(value)) return;
  const given =
    typeof value === 'string'
      ? `${JSON.stringify(value.slice(0, 40))}, of length ${value.length}`
      : typeof value;
  throw new TypeError(
    `The ${name} of ${type} is ${given}: give a text of 1 to 512 characters, none of them control`,
  );
}

const YEAR_1 = Date.parse('0001-01-01T00:00:00Z');
const YEAR_10000 = Date.parse('+010000-01-01T00:00:00Z');

function timing({ type, notBefore, delayMs }: Outgoing): Pick<OutboxRow, 'due_at' | 'delay_ms'> {
  if (notBefore !== undefined && delayMs !== undefined)
    throw new TypeError(`${type} has both notBefore and delayMs: give one of them`);
  if (notBefore !== undefined) {
    // PostgreSQL does not read what JavaScript writes of years beyond these.
    if (!(notBefore.getTime() >= YEAR_1 && notBefore.getTime() < YEAR_10000))
      throw new TypeError(`notBefore of ${type} is no instant: give a valid Date, of the years 1 to 9999`);
    return { due_at: notBefore };
  }
  if (delayMs === undefined) return {};
  if (!(Number.isSafeInteger(delayMs) && delayMs >= 0))
    throw new TypeError(`delayMs of ${type} is ${delayMs}: give whole milliseconds, 0 or more`);
  return { delay_ms: delayMs };
}

function outboxRow(
  definition: MessageType,
  message: Outgoing,
  data: unknown,
  context: RequestContext | undefined,
): Omit<OutboxRow, 'target'> {
  const eventId = uuidv7();
  const key = definition.key(data);
  requireAttribute(message.type, 'type', message.type);
  requireAttribute(message.type, 'key', key);
  const causationId = context?.causationId ?? context?.requestId;
  const customerId = message.customerId ?? context?.customerId;
  return {
    slot: slotOf(key),
    topic: definition.topic,
    msg_key: key,
    event_id: eventId,
    type: message.type,
    payload: data,
    headers: {
      time: new Date().toISOString(),
      correlationid: context?.correlationId ?? context?.requestId ?? eventId,
      ...(causationId !== undefined && { causationid: causationId }),
      actor: context?.actor ?? 'system',
      ...(customerId !== undefined && { customerid: customerId }),
      traceparent: context ? childTraceparent(context.traceparent) : newTraceparent(),
    },
  };
}

async function insertMessages(tx: Transaction, rows: OutboxRow[]): Promise<void> {
  const [row] = rows;
  if (rows.length === 1 && row && row.target !== 'delayed') {
    const { target, slot, msg_key, event_id, type, topic } = row;
    const [payload, headers] = [JSON.stringify(row.payload), JSON.stringify(row.headers)];
    requireStorable(type, payload);
    requireSize(row, payload, headers, msg_key, type);
    const params = [slot, msg_key, event_id, type, payload, headers];
    if (target !== 'unnumbered') params.push(topic);
    await runPrepared(tx, `outbox_insert_one_${target}`, INSERT_ONE[target], params);
    return;
  }
  const texts = rows.map((row) => {
    const text = JSON.stringify(row);
    requireStorable(row.type, text);
    requireSize(row, text);
    return text;
  });
  const targets = TARGETS.filter((target) => rows.some((row) => row.target === target));
  await runPrepared(tx, `outbox_insert_${targets.join('_')}`, insertStatement(new Set(targets)), [
    `[${texts.join()}]`,
  ]);
}
