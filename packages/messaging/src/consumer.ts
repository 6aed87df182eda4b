import { createHash } from 'node:crypto';
import {
  childTraceparent,
  currentContext,
  newTraceparent,
  parseTraceparent,
  runInContext,
} from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Hono } from 'hono';
import { z } from 'zod';
import { reportDeadLetters } from './dead-letter-report.ts';
import { withDeadline } from './deadline.ts';
import { createDeliveries } from './deliveries.ts';
import { type ReceivedEnvelope, receivedEnvelope } from './envelope.ts';
import {
  classifyFailure,
  HandlerTimeoutError,
  PermanentError,
  rootMessage,
  UnreadableError,
} from './failures.ts';
import { buryMessage, recordOnce } from './inbox.ts';
import { HANDLER_TIMEOUT_MS } from './limits.ts';

export { PermanentError };

/** A message as a handler sees it. */
export interface Message<D> {
  id: string;
  type: string;
  /** What the message is about. */
  key: string;
  /** The sender's number for the key: 1, 2, 3 without gaps. Deliveries may come in another order. */
  sequence: string;
  actor: string;
  customerId?: string;
  correlationId?: string;
  causationId?: string;
  data: D;
}

export interface Handler {
  readonly schema: z.ZodType;
  // biome-ignore lint/suspicious/noExplicitAny: `on` ties the data's type to the schema
  readonly handle: (tx: Transaction, message: Message<any>) => Promise<void>;
}

/**
 * A handler for one type of message. Everything it does to the database goes through `tx`, and it calls nobody else:
 * its effect and the note that the message was handled commit together or not at all. What it throws decides what
 * becomes of the message: a DomainError, a {@link PermanentError} and a broken integrity constraint make a dead letter,
 * everything else is delivered again.
 *
 * @example
 * on(StockReserved, async (tx, { data }) => { await confirmOrder(tx, data.order_id); })
 */
export function on<S extends z.ZodType>(
  schema: S,
  handle: (tx: Transaction, message: Message<z.output<S>>) => Promise<void>,
): Handler {
  return { schema, handle };
}

/** `done`: the broker may forget the message. `retry`: it must deliver it again. */
export type Answer = 'done' | 'retry';

export interface Consumer {
  /** Takes one delivery: the bytes of a CloudEvent and the HTTP headers they came with. Never throws. */
  receive(topic: string, body: Uint8Array, headers: Record<string, string>): Promise<Answer>;
}

export interface ConsumerOptions {
  service: string;
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /**
   * By topic. A type without a handler is recorded as seen on a fact topic, and is a dead letter on a command queue.
   */
  topics: Record<string, { kind: 'fact' | 'command'; handlers: Record<string, Handler> }>;
  /** Default {@link HANDLER_TIMEOUT_MS}. */
  handlerTimeoutMs?: number;
}

type Outcome = 'applied' | 'duplicate' | 'unhandled' | 'dead_letter' | 'retry';

/** The receiving side: inbox row and effect in one transaction, and an honest answer to the sidecar. */
export function createConsumer(o: ConsumerOptions): Consumer {
  const handled = o.metrics.counter('sidecart_inbox_handled_total', 'Deliveries by what became of them', [
    'topic',
    'type',
    'outcome',
  ]);
  const age = o.metrics.histogram(
    'sidecart_inbox_age_seconds',
    'Time from the writing of a message to the end of a delivery of it',
    ['topic', 'outcome'],
    [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 3600, 21_600, 86_400],
  );
  const deliveries = createDeliveries();
  const timeoutMs = o.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;

  return {
    async receive(topic, body, headers) {
      const subscription = Object.hasOwn(o.topics, topic) ? o.topics[topic] : undefined;
      if (!subscription) {
        o.log.error(
          { topic },
          'Delivery on a topic that this service does not consume; answered with "again"',
        );
        return 'retry';
      }
      const delivery = readDelivery(body);
      const attempts = deliveries.count(topic, delivery.id);
      const { envelope } = delivery;
      const labels = { topic, type: typeLabel(envelope, subscription.handlers) };

      const outcome = await runInContext(contextOf(delivery), async (): Promise<Outcome> => {
        try {
          return await withTimeout(timeoutMs, () => apply(topic, delivery));
        } catch (err) {
          return fail(err, topic, delivery, { body, headers, attempts });
        }
      });

      if (outcome !== 'retry') deliveries.forget(topic, delivery.id);
      handled.inc({ ...labels, outcome });
      const written = Date.parse(envelope?.time ?? '');
      if (!Number.isNaN(written)) age.observe({ topic, outcome }, Math.max(0, (Date.now() - written) / 1000));
      return outcome === 'retry' ? 'retry' : 'done';
    },
  };

  async function apply(topic: string, delivery: Delivery): Promise<Outcome> {
    if (delivery.fault) throw delivery.fault;
    const envelope = delivery.envelope as ReceivedEnvelope;
    const { kind, handlers } = o.topics[topic] as ConsumerOptions['topics'][string];
    const handler = Object.hasOwn(handlers, envelope.type) ? handlers[envelope.type] : undefined;
    if (!handler && kind === 'command') {
      throw new UnreadableError('unknown_type', `No handler for command ${envelope.type}`);
    }
    if (!handler) {
      // Nothing else commits with it, so one statement is enough; of all facts most are of no interest here.
      const first = await recordOnce(o.database.db, topic, envelope.id, 'unhandled');
      return first ? 'unhandled' : 'duplicate';
    }
    const message = readMessage(handler, envelope);
    return o.database.db.transaction(async (tx) => {
      if (!(await recordOnce(tx, topic, envelope.id, 'applied'))) return 'duplicate';
      await handler.handle(tx, message);
      return 'applied';
    });
  }

  async function fail(err: unknown, topic: string, delivery: Delivery, seen: Seen): Promise<Outcome> {
    const failure = classifyFailure(err);
    const { id, envelope } = delivery;
    const about = { topic, type: envelope?.type, message_id: id, attempts: seen.attempts };
    if (failure.kind === 'transient') {
      const firstBug = !failure.expected && seen.attempts === 1;
      if (firstBug)
        o.log.error({ ...about, err }, 'Handling failed unexpectedly; the message will come again');
      else o.log.warn({ ...about, reason: rootMessage(err) }, 'Handling failed; the message will come again');
      return 'retry';
    }
    try {
      const { kind: _, ...why } = failure;
      const dead = { ...seen, ...why, topic, eventId: id, type: envelope?.type, key: envelope?.partitionkey };
      const first = await buryMessage(o.database.db, { ...dead, headers: withoutSecrets(seen.headers) });
      if (!first) return 'duplicate';
      o.log.error({ ...about, ...why }, 'Message can never be handled; kept in dead_letter');
    } catch (buryErr) {
      o.log.warn(
        { ...about, reason: rootMessage(buryErr) },
        'Dead letter could not be written; the message will come again',
      );
      return 'retry';
    }
    await reportDeadLetters(o).catch((countErr: unknown) => {
      o.log.warn({ reason: rootMessage(countErr) }, 'Dead letters could not be counted');
    });
    return 'dead_letter';
  }
}

/**
 * Mounts `POST /messages/<topic>`. The answer is `SUCCESS` or 503, after which the broker delivers again; never 404,
 * which a sidecar takes as leave to drop the message.
 */
// biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
export function mountConsumer(app: Hono<any, any, any>, consumer: Consumer): void {
  app.post('/messages/:topic{.+}', async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer());
    const answer = await consumer.receive(c.req.param('topic'), body, c.req.header());
    return answer === 'done' ? c.json({ status: 'SUCCESS' }) : c.json({ status: 'RETRY' }, 503);
  });
}

interface Delivery {
  id: string;
  envelope?: ReceivedEnvelope;
  fault?: UnreadableError;
}

interface Seen {
  body: Uint8Array;
  headers: Record<string, string>;
  attempts: number;
}

/** Reads the envelope; one that cannot be read is known by the hash of its bytes, so that it too is kept only once. */
function readDelivery(body: Uint8Array): Delivery {
  try {
    const parsed = receivedEnvelope.safeParse(
      JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)),
    );
    if (parsed.success) return { id: parsed.data.id, envelope: parsed.data };
    return { id: hashOf(body), fault: new UnreadableError('envelope', z.prettifyError(parsed.error)) };
  } catch (err) {
    return { id: hashOf(body), fault: new UnreadableError('envelope', `No JSON: ${rootMessage(err)}`) };
  }
}

function readMessage(handler: Handler, envelope: ReceivedEnvelope): Message<unknown> {
  const data = handler.schema.safeParse(envelope.data);
  if (!data.success) throw new UnreadableError('schema', z.prettifyError(data.error));
  return {
    id: envelope.id,
    type: envelope.type,
    key: envelope.partitionkey,
    sequence: envelope.sequence,
    actor: actorOf(envelope),
    ...(envelope.customerid !== undefined && { customerId: envelope.customerid }),
    correlationId: envelope.correlationid ?? envelope.id,
    ...(envelope.causationid !== undefined && { causationId: envelope.causationid }),
    data: data.data,
  };
}

/** What the handler writes belongs to the message: it is its cause, and its sender's trace goes on. */
function contextOf({ id, envelope }: Delivery) {
  const outer = currentContext();
  const parent = parseTraceparent(envelope?.traceparent) ?? outer?.traceparent;
  return {
    traceparent: parent ? childTraceparent(parent) : newTraceparent(),
    requestId: outer?.requestId ?? id,
    actor: envelope ? actorOf(envelope) : 'unknown',
    ...(envelope?.customerid !== undefined && { customerId: envelope.customerid }),
    correlationId: envelope?.correlationid ?? id,
    causationId: id,
  };
}

function actorOf(envelope: ReceivedEnvelope): string {
  return envelope.actor ?? 'unknown';
}

/** Only known types become a label: a sender could make up any number of them. */
function typeLabel(envelope: ReceivedEnvelope | undefined, handlers: Record<string, Handler>): string {
  return envelope && Object.hasOwn(handlers, envelope.type) ? envelope.type : 'other';
}

/**
 * Answers in time even when the work does not end. The work itself is left to finish: if it commits after all, the
 * next delivery is a duplicate, so a slow database still gets on.
 */
async function withTimeout<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const running = work();
  running.catch(() => {}); // when it fails after the timeout nobody waits for it any more
  return withDeadline(ms, running, () => new HandlerTimeoutError(`Not handled within ${ms} ms`));
}

function hashOf(body: Uint8Array): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

function withoutSecrets(headers: Record<string, string>): Record<string, string> {
  const secret = new Set(['dapr-api-token', 'authorization', 'cookie']);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !secret.has(name.toLowerCase())));
}
