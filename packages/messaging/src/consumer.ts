import { runInContext } from '@sidecart/kit/context';
import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import type { Hono } from 'hono';
import { type Applied, applyDelivery, type Taken, type TopicHandlers } from './applying.ts';
import { buryMessage } from './bury.ts';
import { createConsumerReport } from './consumer-report.ts';
import { createDeliveries } from './deliveries.ts';
import { contextOf, readDelivery } from './delivery.ts';
import { createFailureHandling } from './failure-handling.ts';
import { PoisonError, rootMessage } from './failures.ts';
import { createGuard } from './guard.ts';
import type { Place } from './key-order.ts';
import { HANDLER_TIMEOUT_MS, MAX_STARTS, RETRY_TIMEOUT_MS } from './limits.ts';
import { createParkedMessages } from './parked.ts';
import { createPoisonGuard } from './poison.ts';
import { type Repetition, repeat } from './repeat.ts';
import { createRetries } from './retries.ts';
import { setAsideDelivery } from './set-aside.ts';

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
  /** And when something that it delivered was last taken. What fails comes again, and may be all that does. */
  lastProgress(topic: string): number;
  /** Goes on with a key whose next message may be among those that wait. Never throws. */
  drain(key: Omit<Place, 'seq'>): Promise<void>;
  /** Tries what was set aside, finds what a crash left waiting, counts both, and notices messages that kill the process. */
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
  /** Time between two looks for keys that can go on, and for what was set aside, in ms; default 2000. Half of it is the first rest between two tries of the latter. */
  sweepMs?: number;
  /** A delivery that has failed for so long, in ms, is set aside; default 1000, which is most of what a sidecar's own attempts take. */
  setAsideMs?: number;
  /** Time for the handler of one that was set aside, in ms; default {@link RETRY_TIMEOUT_MS}. */
  retryTimeoutMs?: number;
}

/** What came of a delivery. */
type Received = Applied | { outcome: 'retry' | 'dead_letter' | 'duplicate'; waiting?: Place };

/** The receiving side: inbox row and effect in one transaction, and an honest answer to the sidecar. */
export function createConsumer(o: ConsumerOptions): Consumer {
  const { database, log, topics } = o;
  const setAsideMs = o.setAsideMs ?? 1000;
  const sweepMs = o.sweepMs ?? 2000;
  const deliveries = createDeliveries();
  const report = createConsumerReport({ ...o, failing: deliveries.failing });
  const poison = createPoisonGuard(o);
  const guard = createGuard({
    poison,
    timeoutMs: o.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS,
    retryMs: o.retryTimeoutMs ?? RETRY_TIMEOUT_MS,
  });
  const handleFailure = createFailureHandling({ ...o, deliveries });
  const parts = { database, log, topics, deliveries, report, poison, guard, handleFailure };
  const parked = createParkedMessages({ ...parts, onSetAside: () => retries.wake() });
  const retries = createRetries({ ...parts, drain: parked.drain, pollMs: sweepMs });
  const delivered = new Map<string, number>();
  const progressed = new Map<string, number>();

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
    const taken = { topic, topicHandlers, delivery, raw: { body, headers: withoutSecrets(headers) } };
    const done = report.begin(topic, delivery);
    const { outcome, waiting } = await runInContext(contextOf(delivery), () => take(taken));

    if (outcome !== 'retry') {
      deliveries.forget(topic, delivery.id);
      if (!repair) progressed.set(topic, performance.now());
    }
    done(outcome);
    // Not waited for: this delivery has its answer, and the sweep makes up for an end in between.
    if (waiting) void parked.drain(waiting);
    return outcome === 'retry' ? 'retry' : 'done';
  }

  async function take(taken: Taken): Promise<Received> {
    const { topic, delivery, raw } = taken;
    const { id, envelope } = delivery;
    const failure = deliveries.failure(topic, id);
    if (envelope && failure && failure.forMs >= setAsideMs)
      return setAside({ ...taken, envelope, why: failure.why });
    const attempts = deliveries.count(topic, id);
    try {
      return await guard.guarded(topic, id, async (starts) => {
        if (starts > MAX_STARTS) throw new PoisonError(starts - 1);
        return applyDelivery(database, taken);
      });
    } catch (err) {
      const message = { topic, eventId: id, delivery, ...raw, attempts };
      return {
        outcome: await handleFailure(err, message, { bury: (dead) => buryMessage(database.db, dead) }),
      };
    }
  }

  /**
   * Not at the failure but at the next delivery: a handler that hangs still holds the message at its failure, and may now. Then, and when it
   * is to be handled as ever, it comes again: trying it now as well could take longer than the sidecar waits.
   */
  async function setAside(message: Parameters<typeof setAsideDelivery>[1]): Promise<Received> {
    const { topic, envelope, why } = message;
    const about = { topic, type: envelope.type, message_id: envelope.id };
    try {
      const made = await guard.inTime(() => setAsideDelivery(database, message));
      if (made?.outcome === 'set_aside') {
        log.warn(
          { ...about, reason: why },
          'A message that fails again and again is tried from inbox_failing now',
        );
        retries.wake();
      }
      if (made) return made;
    } catch (err) {
      const reason = rootMessage(err);
      log.warn({ ...about, reason }, 'A message that fails again and again could not be set aside');
    }
    deliveries.startOver(topic, envelope.id);
    return { outcome: 'retry' };
  }

  let repetitions: Repetition[] = [];
  return {
    topics,
    receive,
    drain: parked.drain,
    lastDelivery: (topic) => delivered.get(topic) ?? Number.NEGATIVE_INFINITY,
    lastProgress: (topic) => progressed.get(topic) ?? Number.NEGATIVE_INFINITY,
    worker: {
      name: 'consumer',
      async start() {
        await poison.start();
        retries.start();
        const onError = (err: unknown) =>
          log.warn({ reason: rootMessage(err) }, 'Messages that wait could not be looked for');
        // Counted beside it: a sweep over keys whose handlers hang takes minutes.
        repetitions = [repeat(sweepMs, parked.sweep, onError), repeat(sweepMs, report.countWaiting, onError)];
      },
      async stop() {
        await Promise.all([retries.stop(), ...repetitions.map((repetition) => repetition.stop())]);
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

function withoutSecrets(headers: Record<string, string>): Record<string, string> {
  const secret = new Set(['dapr-api-token', 'authorization', 'cookie']);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !secret.has(name.toLowerCase())));
}
