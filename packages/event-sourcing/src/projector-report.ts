import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { rootMessage } from '@sidecart/messaging/failures';
import type { Applied } from './advance.ts';

type Lane = 'live' | 'building';

/** Everything the projector says to people: metrics, log and the part `projections` of the health details. */
export interface ProjectorReport {
  applied(name: string, what: Applied): void;
  switched(name: string, generation: number): void;
  ok(name: string, lane: Lane): void;
  failed(name: string, lane: Lane, err: unknown, expected: boolean): void;
}

export function createProjectorReport(o: { log: Logger; metrics: Metrics; health: Health }): ProjectorReport {
  const { log } = o;
  const applied = o.metrics.counter('sidecart_projection_events_total', 'Events applied to a read model', [
    'projection',
  ]);
  const lag = o.metrics.gauge(
    'sidecart_projection_lag_seconds',
    'Age of the last event applied, when it was applied; 0 when all are',
    ['projection'],
  );
  const troubles = new Map<string, string>();

  function reportHealth(): void {
    const reasons = [...troubles].map(([name, reason]) => `${name} is not kept up to date: ${reason}`);
    o.health.report(
      'projections',
      reasons.length === 0 ? { status: 'ok' } : { status: 'degraded', reason: reasons.join('; ') },
    );
  }

  return {
    applied(projection, { events, lastAt }) {
      if (lastAt === undefined) return;
      applied.inc({ projection }, events);
      lag.set({ projection }, Math.max(0, Date.now() - lastAt) / 1000);
    },
    switched(projection, generation) {
      log.info({ projection, generation }, 'A read model was built and is read from now on');
    },
    ok(projection, lane) {
      if (lane === 'live') lag.set({ projection }, 0);
      if (troubles.delete(`${projection} (${lane})`))
        log.info({ projection }, 'A read model is kept up to date again');
      reportHealth();
    },
    failed(projection, lane, err, expected) {
      const name = `${projection} (${lane})`;
      const known = troubles.has(name);
      troubles.set(name, rootMessage(err));
      reportHealth();
      if (expected) log.warn({ projection, reason: rootMessage(err) }, 'A read model waits for its database');
      else if (!known)
        log.error({ projection, err }, 'A read model cannot be kept up to date; it is tried again');
    },
  };
}
