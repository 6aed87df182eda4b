import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { buildEnvelope, type CloudEvent } from './envelope.ts';
import { relayLoop } from './relay-loop.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { createRelayReport } from './relay-report.ts';
import { OutboxSetupError, openSession, type RelaySession } from './relay-session.ts';
import { createWake } from './wake.ts';

export interface RelayOptions {
  /** Of the database; the relay opens one connection of its own. Not through a pooler: it must keep its session. */
  url: string;
  service: string;
  /** The instance among its replicas; default the service. */
  applicationName?: string;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Resolves when the broker has acknowledged the message; any rejection means that it has to be published again. */
  publish: (topic: string, event: CloudEvent) => Promise<void>;
  /** How often the outbox is looked at without a nudge, in ms; default 200. */
  pollMs?: number;
  /** How long the relay may be silent, in ms, before the database frees its slots; default 5000. */
  idleSessionTimeoutMs?: number;
  /** Messages in flight at most, never two of one key; default 16. */
  concurrency?: number;
}

export interface Relay extends Worker {
  /** Something may have been committed: look at the outbox now, not at the next poll. */
  nudge(): void;
}

/**
 * Publishes what is in the outbox, in order per topic and key, and deletes what the broker acknowledged: at least once,
 * never two of one key in flight. Of several replicas one owns a slot at a time; when it dies or freezes, its slots
 * move on within `idleSessionTimeoutMs`. Nothing is ever given up: a message that cannot be published is tried again
 * for ever, holds up its own key only, and shows in the metrics and in the health details.
 *
 * `start` rejects with an OutboxSetupError when the outbox itself is wrong; a database that is away is waited for.
 *
 * @example
 * const relay = createRelay({ url, service: 'orders', log, metrics, health,
 *   publish: (topic, event) => dapr.publish(TOPOLOGY.orders.publish[topic], topic, event) });
 */
export function createRelay(o: RelayOptions): Relay {
  const report = createRelayReport(o);
  const wake = createWake();
  const nudge = { look: false, announce: false };
  const sessionOptions = {
    url: o.url,
    applicationName: o.applicationName ?? o.service,
    idleSessionTimeoutMs: o.idleSessionTimeoutMs ?? 5000,
    onAnnounced: () => {
      nudge.look = true;
      wake.up();
    },
  };
  const stopping = new AbortController();
  const acknowledged = new Map<bigint, OutboxMessage>();
  let ended: Promise<void> = Promise.resolve();

  const publish = (message: OutboxMessage) => o.publish(message.topic, buildEnvelope(o.service, message));

  async function run(first: RelaySession | undefined): Promise<void> {
    let session = first;
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        session ??= await openSession(sessionOptions);
        report.connected();
        failures = 0;
        await relayLoop({
          session,
          publish,
          isRefusal,
          concurrency: o.concurrency ?? 16,
          pollMs: o.pollMs ?? 200,
          stopping: stopping.signal,
          acknowledged,
          wake,
          nudge,
          report,
        });
      } catch (err) {
        report.disconnected(err);
        failures += 1;
      }
      await session?.close();
      session = undefined;
      if (!stopping.signal.aborted) await sleepUnlessStopped(Math.min(2000, 100 * 2 ** failures));
    }
  }

  async function sleepUnlessStopped(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!stopping.signal.aborted && performance.now() < until) await wake.sleep(until - performance.now());
  }

  return {
    name: 'relay',
    nudge() {
      nudge.look = true;
      nudge.announce = true;
      wake.up();
    },
    async start() {
      const first = await openSession(sessionOptions).catch((err: unknown) => {
        if (err instanceof OutboxSetupError) throw err;
        report.disconnected(err);
        return undefined;
      });
      ended = run(first);
    },
    async stop() {
      stopping.abort();
      wake.up();
      await ended;
    },
  };
}

/** Trying again does not help; somebody has to change a scope, a size or a name. */
function isRefusal(err: unknown): boolean {
  return err instanceof DaprError && (err.kind === 'refused' || err.kind === 'denied');
}
