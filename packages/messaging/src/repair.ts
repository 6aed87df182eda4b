import type { Dapr } from '@sidecart/kit/dapr';
import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import type { Answer, Consumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { rootMessage } from './failures.ts';
import { createGapFilling } from './gap-filling.ts';
import { createHands } from './hands.ts';
import {
  type Cursor,
  countOverdue,
  type Edge,
  forget,
  keepLease,
  type Late,
  notePage,
  overdue,
  putOff,
  releaseCursor,
  resetCursor,
  settleLost,
  takeCursor,
} from './repair-state.ts';
import { type Repetition, repeat } from './repeat.ts';
import type { SentIds, SentMessages } from './sent-routes.ts';
import { slotOf } from './slot.ts';
import { createSubscriptionReport } from './subscription-report.ts';

export interface RepairOptions {
  database: Database;
  consumer: Pick<Consumer, 'receive' | 'drain' | 'lastDelivery' | 'lastProgress'>;
  dapr: Pick<Dapr, 'invoke'>;
  /** Who sends on the topics that this service takes from. */
  edges: readonly Edge[];
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Time between two comparisons, in ms; default 10,000. */
  intervalMs?: number;
  /** How late a message may be before it counts as lost, in ms; default 10,000. */
  graceMs?: number;
  /**
   * How long a key waits for a message that its sender does not keep before it is taken to be gone for good, in ms; default
   * 600,000.
   */
  lostMs?: number;
}

const CALL_MS = 2000;
/** Pages of one round; a comparison of more goes on in the next. */
const PAGES = 50;
const BATCH = 100;
/** A batch takes no further message after so long, in ms: what is lost meanwhile is to be noticed too. */
const TAKE_MS = 10_000;
/** While messages are handled and gaps filled the lease is kept so often, in ms. */
const KEEP_MS = 1000;
/** After so long, in ms, the next comparison comes before the next batch, for the same reason. */
const FETCH_MS = 10_000;
/** Messages handled side by side, of all topics, each with a connection of the pool: deliveries want some too. */
const HANDS = 2;
/** A topic on which nothing that was delivered was handled for so long, in ms, has no backlog that would bring what is missing, or nobody who gets to it. */
const IDLE_MS = 3000;

/**
 * Finds messages that were sent and never came, and fetches them from their senders: a broker that acknowledged a message and lost it,
 * the last of its key included, a new consumer, a database that was restored. What is fetched goes the way of a delivery, so what came
 * meanwhile is a duplicate. What a later message has overtaken is lost, and is fetched until there is none left; so is all that is overdue
 * on a topic that delivers nothing, or nothing but what fails. Else only a batch is fetched in each round: a consumer that lags lacks its
 * whole backlog, and is not helped by being given it twice.
 */
export function createRepair(o: RepairOptions): Worker {
  const { database, log } = o;
  const graceMs = o.graceMs ?? 10_000;
  const lostMs = o.lostMs ?? 600_000;
  const missing = o.metrics.gauge(
    'sidecart_repair_missing',
    'Messages that a sender has sent and that are overdue',
    ['topic', 'sender'],
  );
  const repaired = o.metrics.counter('sidecart_repair_fetched_total', 'Messages fetched from their senders', [
    'topic',
    'sender',
  ]);
  const lost = o.metrics.counter(
    'sidecart_repair_lost_total',
    'Messages that never came and that nobody has any more',
    ['topic', 'sender'],
  );
  // An alert on what has been added sees the first one only where there was a 0 before.
  for (const { topic, sender } of o.edges)
    for (const counter of [repaired, lost]) counter.inc({ topic, sender }, 0);
  const failing = new Map<string, string>();
  const subscriptions = createSubscriptionReport({
    ...o,
    topics: o.edges.map(({ topic }) => topic),
    lastDelivery: o.consumer.lastDelivery,
    graceMs,
  });
  const hands = createHands(HANDS);
  const fillGaps = createGapFilling({
    ...{ database, graceMs, lostMs, hands, ask, take, leaseKeeper },
    consumer: o.consumer,
    onLost: (edge) => lost.inc({ ...edge }),
  });
  /** Of this comparison. */
  const fetched = new Set<string>();
  let unfinished = false;
  let repetition: Repetition | undefined;

  async function ask<T>({ topic, sender }: Edge, body: object): Promise<T> {
    const answer = await o.dapr.invoke(sender, {
      method: 'POST',
      path: `/sent/${encodeURIComponent(topic)}`,
      body,
      timeoutMs: CALL_MS,
    });
    if (answer.status !== 200)
      throw new Error(`${sender} answered ${answer.status} for what it sent on ${topic}`);
    return answer.json() as T;
  }

  async function compare(edge: Edge, from: Cursor, signal: AbortSignal): Promise<void> {
    let cursor = from;
    for (let pages = 0; pages < PAGES && !signal.aborted; pages += 1) {
      const page = await ask<SentIds>(edge, { ask: 'ids', ...cursor });
      if (page.reset) {
        log.warn(edge, 'The sender has another database than before; all that it has sent is compared');
        return resetCursor(database, edge);
      }
      cursor = await notePage(database, edge, cursor, page);
      if (page.after === null) return;
    }
  }

  async function fetchMissing(edge: Edge, signal: AbortSignal): Promise<void> {
    const until = performance.now() + FETCH_MS;
    let most = BATCH;
    for (let batches = 0; ; batches += 1) {
      const late = await overdue(database, edge, graceMs, most);
      if (late.length === 0 || signal.aborted) return;
      if (batches === 0) await count(edge); // here too, as fetching takes a while
      await keepLease(database, edge);
      const answer = await askForMessages(edge, late);
      if (!answer) {
        most = Math.ceil(late.length / 2);
        continue;
      }
      const { messages, gone } = answer;
      const { done, failed } = await take(edge, messages);
      await forget(database, edge.topic, done);
      await putOff(database, edge.topic, failed);
      if (gone.length > 0)
        await lose(
          edge,
          late.filter(({ id }) => gone.includes(id)),
        );
      const delivers = o.consumer.lastProgress(edge.topic) > performance.now() - IDLE_MS;
      if (delivers && !late.every(({ passed }) => passed)) return;
      // Nothing of it can be handled now, and perhaps nothing of what is behind it: that has its turn in the next round.
      if (failed.length === late.length) return;
      if (performance.now() > until) {
        unfinished = true;
        return;
      }
    }
  }

  /** Undefined when there is no answer: perhaps it is too much for one. A single message that cannot be had lets the others go first. */
  async function askForMessages(edge: Edge, late: Late[]): Promise<SentMessages | undefined> {
    try {
      return await ask<SentMessages>(edge, { ask: 'messages', ids: late.map(({ id }) => id) });
    } catch (err) {
      if (late.length > 1) return undefined;
      await putOff(
        database,
        edge.topic,
        late.map(({ eventId }) => eventId),
      );
      throw err;
    }
  }

  async function count(edge: Edge): Promise<void> {
    missing.set({ ...edge }, await countOverdue(database, edge, graceMs));
  }

  async function lose(edge: Edge, messages: { eventId: string }[]): Promise<void> {
    const ids = messages.map(({ eventId }) => eventId);
    lost.inc({ ...edge }, ids.length);
    log.error({ ...edge, messages: ids }, 'Messages are lost: their sender has them no more');
    await forget(database, edge.topic, ids);
  }

  /** To be called before each of many pieces of work. */
  function leaseKeeper(edge: Edge): () => Promise<void> {
    let keepAt = 0;
    return async () => {
      if (performance.now() < keepAt) return;
      keepAt = performance.now() + KEEP_MS;
      await keepLease(database, edge).catch(() => {}); // before the next piece it is tried again
    };
  }

  /** The ids of those that were dealt with, and that could not be now. Others were not reached in time. */
  async function take(edge: Edge, messages: CloudEvent[]): Promise<{ done: string[]; failed: string[] }> {
    const done: string[] = [];
    const failed: string[] = [];
    const until = performance.now() + TAKE_MS;
    const keep = leaseKeeper(edge);
    async function handle(body: Uint8Array): Promise<Answer> {
      await keep();
      return o.consumer.receive(edge.topic, body, {}, { repair: true });
    }
    async function takeInTurn(some: CloudEvent[]): Promise<void> {
      for (const message of some) {
        if (performance.now() > until) return;
        const body = new TextEncoder().encode(JSON.stringify(message));
        const answer = await hands(() => handle(body));
        (answer === 'done' ? done : failed).push(message.id);
      }
    }
    // Those of one key in turn: side by side they would wait for each other.
    const shares = Map.groupBy(messages, ({ partitionkey }) => slotOf(partitionkey) % HANDS);
    await Promise.all([...shares.values()].map(takeInTurn));
    if (done.length > 0) {
      fetched.add(edge.topic);
      repaired.inc({ ...edge }, done.length);
      log.warn({ ...edge, messages: done.length }, 'Messages that never came were fetched from their sender');
    }
    return { done, failed };
  }

  async function repairEdge(edge: Edge, signal: AbortSignal): Promise<void> {
    const cursor = await takeCursor(database, edge);
    if (!cursor) return;
    try {
      await compare(edge, cursor, signal);
      try {
        await fetchMissing(edge, signal);
        await count(edge);
      } finally {
        // Also behind a message that cannot be had, which fails each round.
        if (!signal.aborted && (await fillGaps(edge, signal)).more) unfinished = true;
      }
    } finally {
      await releaseCursor(database, edge).catch(() => {});
    }
  }

  async function tryEdge(edge: Edge, signal: AbortSignal): Promise<void> {
    const name = `${edge.topic} from ${edge.sender}`;
    try {
      await repairEdge(edge, signal);
      failing.delete(name);
    } catch (err) {
      if (!failing.has(name) && !signal.aborted)
        log.warn(
          { ...edge, reason: rootMessage(err) },
          'What was sent could not be compared; it will be tried again',
        );
      failing.set(name, rootMessage(err));
    }
  }

  async function compareAll(signal: AbortSignal): Promise<void> {
    // Side by side: one that is slow must not make the others wait.
    await Promise.all(o.edges.map((edge) => tryEdge(edge, signal)));
    await settleLost(database).catch(() => {}); // the next round does
    subscriptions.endRound(fetched);
    fetched.clear();
    const reason = [...failing].map(([name, why]) => `${name}: ${why}`).join('; ');
    o.health.report('repair', reason === '' ? { status: 'ok' } : { status: 'degraded', reason });
  }

  /** Goes on without a pause while there is more to fetch than one comparison gives time for. */
  async function round(signal: AbortSignal): Promise<void> {
    do {
      unfinished = false;
      await compareAll(signal);
    } while (unfinished && !signal.aborted);
  }

  return {
    name: 'repair',
    start() {
      repetition = repeat(o.intervalMs ?? 10_000, round, (err) => log.error({ err }, 'Repair failed'));
    },
    async stop() {
      await repetition?.stop();
    },
  };
}

/**
 * What runs beside a consumer: its own worker, and the repair.
 *
 * @example
 * return { app, workers: [...workers, ...receivingWorkers({ ...base, consumer, topology: TOPOLOGY.orders })] };
 */
export function receivingWorkers(
  o: Omit<RepairOptions, 'edges' | 'consumer'> & {
    consumer: Consumer;
    /** The service's row of the topology: who sends what it receives. */
    topology: { senders: readonly Edge[] };
  },
): Worker[] {
  return [o.consumer.worker, createRepair({ ...o, edges: o.topology.senders })];
}
