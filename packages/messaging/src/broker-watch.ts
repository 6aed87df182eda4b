import type { Dapr } from '@sidecart/kit/dapr';
import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import { uuidv7 } from '@sidecart/kit/ids';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { type Repetition, repeat } from './repeat.ts';

/** Allowed on every component and bound to no stream: a publish there reaches the broker and stores nothing. */
const PROBE_TOPIC = 'probe';
const PROBE_MS = 6000;
/** A sidecar that has not gone away this long after it was asked to is asked again, in ms. */
const ASK_AGAIN_MS = 60_000;

export interface BrokerWatchOptions {
  /** Every pub/sub component of this app; each has a broker connection of its own. */
  components: readonly string[];
  dapr: Pick<Dapr, 'publish' | 'shutdownSidecar'>;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Time between two rounds of probes; default 5000. */
  intervalMs?: number;
  /** Milliseconds of a monotonic clock; for tests. */
  now?: () => number;
}

type Probe = 'alive' | 'connection-closed' | 'sidecar-away' | 'broker-away' | 'refused';

/**
 * Notices a sidecar whose broker connection is gone for good: JetStream's client gives up after about two minutes, the
 * sidecar goes on calling itself healthy, and only a new process helps. Such a sidecar is told to shut down, once, so
 * that whoever runs it starts another. Broker or sidecar merely away makes the app `degraded` and nothing else.
 */
export function createBrokerWatch(o: BrokerWatchOptions): Worker {
  const up = o.metrics.gauge('sidecart_broker_up', 'Whether the sidecar reaches the broker', ['component']);
  const now = o.now ?? (() => performance.now());
  let repetition: Repetition | undefined;
  let asked: { at: number; wentAway: boolean } | undefined;
  let lastReason = '';

  async function round(signal: AbortSignal): Promise<void> {
    const probes = await Promise.all(
      o.components.map(async (component) => ({ component, found: await probe(o.dapr, component) })),
    );
    if (signal.aborted) return;
    for (const { component, found } of probes) up.set({ component }, found === 'alive' ? 1 : 0);
    report(probes);
    const found = new Set(probes.map((p) => p.found));
    if (found.has('sidecar-away')) {
      if (asked) asked.wentAway = true;
    } else if (!found.has('connection-closed')) {
      asked = undefined;
    } else if (!asked || asked.wentAway || now() - asked.at >= ASK_AGAIN_MS) {
      await askToShutDown();
    }
  }

  async function askToShutDown(): Promise<void> {
    asked = { at: now(), wentAway: false };
    o.log.warn('The sidecar has lost its broker connection for good; it is told to shut down and start anew');
    try {
      await o.dapr.shutdownSidecar();
    } catch (err) {
      o.log.warn({ err }, 'The sidecar could not be told to shut down');
      asked = undefined;
    }
  }

  function report(probes: { component: string; found: Probe }[]): void {
    const reason = probes
      .filter((p) => p.found !== 'alive')
      .map((p) => `${p.component}: ${p.found}`)
      .join(', ');
    o.health.report('broker', reason ? { status: 'degraded', reason } : { status: 'ok' });
    if (reason === lastReason) return;
    if (reason) o.log.warn({ reason }, 'Not every pub/sub component reaches its broker');
    else o.log.info('Every pub/sub component reaches its broker again');
    lastReason = reason;
  }

  return {
    name: 'broker-watch',
    start() {
      repetition = repeat(o.intervalMs ?? 5000, round, (err) => o.log.error({ err }, 'Broker watch failed'));
    },
    async stop() {
      await repetition?.stop();
    },
  };
}

async function probe(dapr: BrokerWatchOptions['dapr'], component: string): Promise<Probe> {
  const event = {
    specversion: '1.0',
    id: uuidv7(),
    source: '/sidecart/broker-watch',
    type: 'Probe',
    data: {},
  };
  try {
    await dapr.publish(component, PROBE_TOPIC, event, { timeoutMs: PROBE_MS });
    return 'alive';
  } catch (err) {
    if (!(err instanceof DaprError)) throw err;
    if (err.kind === 'no-stream') return 'alive';
    if (err.kind === 'connection-closed') return 'connection-closed';
    if (err.kind === 'refused' || err.kind === 'denied') return 'refused';
    return err.kind === 'unavailable' && err.status === undefined ? 'sidecar-away' : 'broker-away';
  }
}
