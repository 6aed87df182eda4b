import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { buildEnvelope, type CloudEvent } from './envelope.ts';
import { relayLoop } from './relay-loop.ts';
import type { OutboxMessage, PublishError } from './relay-queue.ts';
import { createRelayReport } from './relay-report.ts';
import { openSession } from './relay-session.ts';
import { keepSession } from './session-keeper.ts';
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
 * never two of one key in flight. Several replicas share the slots evenly, and each slot has one owner at a time; when that
 * one dies or freezes, its slots move on within `idleSessionTimeoutMs`. Then alone a second of a key can be in flight: the next owner
 * begins with the one that nobody saw acknowledged, so that each appears for the first time in its order all the same. Nothing is ever given up: a message that cannot be published is tried again
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
  const acknowledged = new Map<bigint, OutboxMessage>();
  const keeper = keepSession({
    open: () => openSession(sessionOptions),
    loop: (session, stopping) =>
      relayLoop({
        session,
        publish: (message) => o.publish(message.topic, buildEnvelope(o.service, message)),
        refusedBy,
        concurrency: o.concurrency ?? 16,
        pollMs: o.pollMs ?? 200,
        stopping,
        acknowledged,
        wake,
        nudge,
        report,
      }),
    wake,
    connected: report.connected,
    disconnected: report.disconnected,
  });

  return {
    name: 'relay',
    nudge() {
      nudge.look = true;
      nudge.announce = true;
      wake.up();
    },
    start: keeper.start,
    stop: keeper.stop,
  };
}

/** Trying again does not help; somebody has to change a size or a name, or a scope. */
function refusedBy(err: unknown): PublishError['refused'] {
  if (!(err instanceof DaprError)) return undefined;
  if (err.kind === 'denied') return 'service';
  return err.kind === 'refused' ? 'message' : undefined;
}
