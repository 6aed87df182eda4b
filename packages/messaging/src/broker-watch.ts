import type { Dapr } from '@sidecart/kit/dapr';
import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import { uuidv7 } from '@sidecart/kit/ids';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { type Repetition, repeat } from './repeat.ts';

/**
 * Allowed on every component, and nothing that the broker could store a message under: JetStream binds no stream to it, on
 * Redis it is the key of a plain string (platform/redis-streams.ts).
 */
const PROBE_TOPIC = 'probe';
const PROBE_MS = 6000;
/**
 * How long to wait before a sidecar is told again, by how often it was told in vain, in ms. While the broker stays away
 * each restart costs the app's callers a second and helps nothing; once it is back, the last wait is the longest delay.
 */
const WAITS_MS = [10_000, 20_000, 30_000];

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

type Probe = 'alive' | 'connection-closed' | 'no-component' | 'sidecar-away' | 'broker-away' | 'refused';

/**
 * Notices a sidecar whose broker connection is gone for good: JetStream's client gives up after about two minutes (that of
 * Redis goes on trying), the sidecar goes on calling itself healthy, and only a new process helps. One that starts while
 * the broker is away runs without its component (`ignoreErrors`, so that calls between services go on) and needs the
 * same. Such a sidecar is told to shut down, again and again with growing waits, so that whoever runs it starts another.
 * Broker or sidecar merely away makes the app `degraded` and nothing else.
 */
export function createBrokerWatch(o: BrokerWatchOptions): Worker {
  const up = o.metrics.gauge('sidecart_broker_up', 'Whether the sidecar reaches the broker', ['component']);
  const now = o.now ?? (() => performance.now());
  let repetition: Repetition | undefined;
  let told = 0;
  let notBefore = 0;
  let lastReason = '';

  async function round(signal: AbortSignal): Promise<void> {
    const probes = await Promise.all(
      o.components.map(async (component) => ({ component, found: await probe(o.dapr, component) })),
    );
    if (signal.aborted) return;
    for (const { component, found } of probes) up.set({ component }, found === 'alive' ? 1 : 0);
    report(probes);
    if (probes.some((p) => p.found === 'connection-closed' || p.found === 'no-component')) {
      if (now() >= notBefore) await tellToShutDown();
    } else if (probes.every((p) => p.found === 'alive')) {
      told = 0;
      notBefore = 0;
    }
  }

  async function tellToShutDown(): Promise<void> {
    o.log.warn('The sidecar has lost its broker connection for good; it is told to shut down and start anew');
    try {
      await o.dapr.shutdownSidecar();
      notBefore = now() + (WAITS_MS[Math.min(told, WAITS_MS.length - 1)] as number);
      told += 1;
    } catch (err) {
      o.log.warn({ err }, 'The sidecar could not be told to shut down');
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
    // Stored, as nobody keeps Redis from it: no harm, for the stream of probes ages as the others do.
    return 'alive';
  } catch (err) {
    if (!(err instanceof DaprError)) throw err;
    if (err.kind === 'no-stream') return 'alive';
    if (err.kind === 'connection-closed' || err.kind === 'no-component') return err.kind;
    if (err.kind === 'refused' || err.kind === 'denied') return 'refused';
    return err.kind === 'unavailable' && err.status === undefined ? 'sidecar-away' : 'broker-away';
  }
}
