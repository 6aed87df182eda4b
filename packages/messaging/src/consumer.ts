import { runInContext } from '@sidecart/kit/context';
import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import type { Hono } from 'hono';
import {
  type Applied,
  applyDelivery,
  applyNext,
  handlerOf,
  isOrdered,
  type NextStep,
  type TopicHandlers,
} from './applying.ts';
import { buryMessage, buryParked, type DeadMessage } from './bury.ts';
import { createConsumerReport } from './consumer-report.ts';
import { reportDeadLetters } from './dead-letter-report.ts';
import { withDeadline } from './deadline.ts';
import { createDeliveries } from './deliveries.ts';
import { contextOf, type Delivery, placeOf, readDelivery } from './delivery.ts';
import { classifyFailure, type Failure, HandlerTimeoutError, PoisonError, rootMessage } from './failures.ts';
import type { Place } from './key-order.ts';
import { nextWaiting, readyKeys } from './key-order.ts';
import { HANDLER_TIMEOUT_MS, MAX_STARTS } from './limits.ts';
import { type Begun, createPoisonGuard } from './poison.ts';
import { type Repetition, repeat } from './repeat.ts';

/** `done`: the broker may forget the message. `retry`: it must deliver it again. */
export type Answer = 'done' | 'retry';

export interface Consumer {
  /** Takes one delivery: the bytes of a CloudEvent and the HTTP headers they came with. Never throws. */
  receive(
    topic: string,
    body: Uint8Array,
    headers: Record<string, string>,
    o?: {
      /** It was fetched from its sender, and is no sign that the broker delivers. */
      repair?: boolean;
    },
  ): Promise<Answer>;
  /** When the broker last delivered something of this topic, by performance.now(); -Infinity when it never did. */
  lastDelivery(topic: string): number;
  /** And when something that it delivered last came to its end. What fails comes again, and may be all that does. */
  lastProgress(topic: string): number;
  /** Goes on with a key whose next message may be among those that wait. Never throws. */
  drain(key: Omit<Place, 'seq'>): Promise<void>;
  /** Finds what a crash left waiting, counts what waits, and notices messages that kill the process. */
  worker: Worker;
  topics: Readonly<Record<string, TopicHandlers>>;
}

export interface ConsumerOptions {
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /**
   * By topic. A type without a handler is recorded as seen on a fact topic, and is a dead letter on a command queue.
   */
  topics: Record<string, TopicHandlers>;
  /** Default {@link HANDLER_TIMEOUT_MS}. */
  handlerTimeoutMs?: number;
  /** Time between two looks for keys that can go on, in ms; default 2000. */
  sweepMs?: number;
}

/** Dead letters are counted at a burial, but not again so soon, in ms: each count reads all that wait. Housekeeping counts the rest. */
const COUNT_MS = 1000;

/** What came of a delivery. */
type Received = Applied | { outcome: 'retry' | 'dead_letter' | 'duplicate'; waiting?: Place };

/** The receiving side: inbox row and effect in one transaction, and an honest answer to the sidecar. */
export function createConsumer(o: ConsumerOptions): Consumer {
  const { database, log, topics } = o;
  const deliveries = createDeliveries();
  const report = createConsumerReport({ ...o, failing: deliveries.failing });
  const poison = createPoisonGuard(o);
  const timeoutMs = o.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;
  const delivered = new Map<string, number>();
  const progressed = new Map<string, number>();
  let countAt = 0;

  /**
   * Runs what may call a handler: in time, the wait for its turn included, and counted while processes of this service die without a
   * word.
   */
  async function guarded<T>(
    topic: string,
    eventId: string,
    work: (starts: number) => Promise<T>,
  ): Promise<T> {
    const beganAt = performance.now();
    const begun = await poison.begin(topic, eventId, timeoutMs);
    const left = begun.starts === 0 ? timeoutMs : timeoutMs - (performance.now() - beganAt);
    try {
      return await withTimeout(Math.max(0, left), () => ending(begun, work(begun.starts)));
    } finally {
      begun.leave();
    }
  }

  /**
   * Takes the count back when the work has ended, which may be long after its time: until then it may still kill. That of one that is
   * not handled any more stays, in case it cannot be set aside now.
   */
  async function ending<T>(begun: Begun, work: Promise<T>): Promise<T> {
    try {
      const result = await work;
      await begun.end();
      return result;
    } catch (err) {
      await begun.end({ keepCount: err instanceof PoisonError });
      throw err;
    }
  }

  async function receive(
    topic: string,
    body: Uint8Array,
    headers: Record<string, string>,
    { repair = false }: { repair?: boolean } = {},
  ): Promise<Answer> {
    const topicHandlers = Object.hasOwn(topics, topic) ? topics[topic] : undefined;
    if (!topicHandlers) {
      log.error({ topic }, 'Delivery on a topic that this service does not consume; answered with "again"');
      return 'retry';
    }
    if (!repair) delivered.set(topic, performance.now());
    const delivery = readDelivery(body);
    const raw = { body, headers: withoutSecrets(headers) };
    const attempts = deliveries.count(topic, delivery.id);
    const done = report.begin(topic, typeLabel(topicHandlers, delivery), delivery.envelope?.time);

    const { outcome, waiting } = await runInContext(contextOf(delivery), async (): Promise<Received> => {
      try {
        return await guarded(topic, delivery.id, async (starts) => {
          if (starts > MAX_STARTS) throw new PoisonError(starts - 1);
          return applyDelivery(database, { topic, topicHandlers, delivery, raw });
        });
      } catch (err) {
        const dead = deadMessage(topic, topicHandlers, delivery, raw, attempts);
        return { outcome: await fail(err, dead, (kept) => buryMessage(database.db, kept)) };
      }
    });

    if (outcome !== 'retry') {
      deliveries.forget(topic, delivery.id);
      if (!repair) progressed.set(topic, performance.now());
    }
    done(outcome);
    // Not waited for: this delivery has its answer, and the sweep makes up for an end in between.
    if (waiting) void drain(waiting);
    return outcome === 'retry' ? 'retry' : 'done';
  }

  async function drain(key: Omit<Place, 'seq'>): Promise<void> {
    const topicHandlers = topics[key.topic];
    if (!topicHandlers) return;
    for (;;) {
      let step: NextStep | undefined;
      let done: (outcome: string) => void = () => {};
      const seen = (next: NextStep) => {
        step = next;
        const { envelope } = next.delivery as Delivery;
        done = report.begin(key.topic, typeLabel(topicHandlers, next.delivery as Delivery), envelope?.time);
      };
      try {
        const next = await guardedNext(topicHandlers, key, seen);
        if (!next) return;
        if (next.parked) {
          deliveries.forget(key.topic, next.parked.eventId);
          done('applied');
        }
      } catch (err) {
        if (!step?.parked || !step.delivery) {
          log.warn({ ...key, reason: rootMessage(err) }, 'Messages that wait could not be looked at');
          return;
        }
        const { place, parked, delivery } = step;
        const raw = { body: parked.body as Uint8Array, headers: parked.headers };
        const attempts = deliveries.count(key.topic, parked.eventId);
        const dead = { ...deadMessage(key.topic, topicHandlers, delivery, raw, attempts), place };
        const outcome = await fail(err, dead, (kept) => buryParked(database.db, kept));
        if (outcome !== 'retry') deliveries.forget(key.topic, parked.eventId);
        done(outcome);
        return;
      }
    }
  }

  /**
   * While deaths are counted, the message is looked up first: counting takes a connection of its own, and those who wait for one
   * inside of a transaction would wait for each other.
   */
  async function guardedNext(
    topicHandlers: TopicHandlers,
    key: Omit<Place, 'seq'>,
    seen: (step: NextStep) => void,
  ): Promise<NextStep | undefined> {
    const waiting = poison.watching() && (await nextWaiting(database.db, key, isOrdered(topicHandlers)));
    const next = waiting ? waiting.eventId : undefined;
    const apply = (starts: number) =>
      applyNext(database, topicHandlers, key, (step) => {
        seen(step);
        if (step.parked?.eventId === next && starts > MAX_STARTS) throw new PoisonError(starts - 1);
      });
    return next === undefined ? withTimeout(timeoutMs, () => apply(0)) : guarded(key.topic, next, apply);
  }

  async function fail(
    err: unknown,
    dead: Omit<DeadMessage, 'reason' | 'detail'>,
    bury: (dead: DeadMessage) => Promise<boolean>,
  ): Promise<'retry' | 'dead_letter' | 'duplicate'> {
    const failure: Failure = classifyFailure(err);
    const about = { topic: dead.topic, type: dead.type, message_id: dead.eventId, attempts: dead.attempts };
    if (failure.kind === 'transient') {
      deliveries.failed(dead.topic, dead.eventId, rootMessage(err));
      const firstBug = !failure.expected && dead.attempts === 1;
      if (firstBug) log.error({ ...about, err }, 'Handling failed unexpectedly; the message will come again');
      else log.warn({ ...about, reason: rootMessage(err) }, 'Handling failed; the message will come again');
      return 'retry';
    }
    try {
      const { kind: _, ...why } = failure;
      if (!(await bury({ ...dead, ...why }))) return 'duplicate';
      log.error({ ...about, ...why }, 'Message can never be handled; kept in dead_letter');
    } catch (buryErr) {
      deliveries.failed(dead.topic, dead.eventId, rootMessage(buryErr));
      log.warn(
        { ...about, reason: rootMessage(buryErr) },
        'Dead letter could not be written; the message will come again',
      );
      return 'retry';
    }
    if (performance.now() < countAt) return 'dead_letter';
    countAt = performance.now() + COUNT_MS;
    await reportDeadLetters(o).catch((countErr: unknown) => {
      log.warn({ reason: rootMessage(countErr) }, 'Dead letters could not be counted');
    });
    return 'dead_letter';
  }

  const { ordered = [], unordered = [] } = Object.groupBy(Object.keys(topics), (topic) =>
    isOrdered(topics[topic] as TopicHandlers) ? 'ordered' : 'unordered',
  );

  async function sweep(signal: AbortSignal): Promise<void> {
    for (const key of await readyKeys(database.db, { ordered, unordered })) {
      if (signal.aborted) return;
      await drain(key);
    }
  }

  let repetitions: Repetition[] = [];
  return {
    topics,
    receive,
    drain,
    lastDelivery: (topic) => delivered.get(topic) ?? Number.NEGATIVE_INFINITY,
    lastProgress: (topic) => progressed.get(topic) ?? Number.NEGATIVE_INFINITY,
    worker: {
      name: 'consumer',
      async start() {
        await poison.start();
        const ms = o.sweepMs ?? 2000;
        const onError = (err: unknown) =>
          log.warn({ reason: rootMessage(err) }, 'Messages that wait could not be looked for');
        // Counted beside it: a sweep over keys whose handlers hang takes minutes.
        repetitions = [repeat(ms, sweep, onError), repeat(ms, report.countWaiting, onError)];
      },
      async stop() {
        await Promise.all(repetitions.map((repetition) => repetition.stop()));
        await poison.stop();
      },
    },
  };
}

/**
 * Mounts `POST /messages/<topic>`. The answer is `SUCCESS` or 503, after which the broker delivers again; never 404,
 * which a sidecar takes as leave to drop the message.
 */
// biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
export function mountConsumer(app: Hono<any, any, any>, consumer: Pick<Consumer, 'receive'>): void {
  app.post('/messages/:topic{.+}', async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer());
    const answer = await consumer.receive(c.req.param('topic'), body, c.req.header());
    return answer === 'done' ? c.json({ status: 'SUCCESS' }) : c.json({ status: 'RETRY' }, 503);
  });
}

function deadMessage(
  topic: string,
  topicHandlers: TopicHandlers,
  { id, envelope }: Delivery,
  raw: { body: Uint8Array; headers: Record<string, string> },
  attempts: number,
): Omit<DeadMessage, 'reason' | 'detail'> {
  return {
    ...raw,
    topic,
    eventId: id,
    type: envelope?.type,
    key: envelope?.partitionkey,
    place: envelope && isOrdered(topicHandlers) ? placeOf(topic, envelope) : undefined,
    holdsKey: handlerOf(topicHandlers, envelope?.type)?.ordered ?? false,
    attempts,
  };
}

/** Only known types become a label: a sender could make up any number of them. */
function typeLabel(topicHandlers: TopicHandlers, { envelope }: Delivery): string {
  return envelope && handlerOf(topicHandlers, envelope.type) ? envelope.type : 'other';
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

function withoutSecrets(headers: Record<string, string>): Record<string, string> {
  const secret = new Set(['dapr-api-token', 'authorization', 'cookie']);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !secret.has(name.toLowerCase())));
}
