export interface ComponentState {
  status: 'ok' | 'degraded';
  reason?: string;
}

export interface HealthDetails {
  service: string;
  status: 'ok' | 'degraded';
  ready: boolean;
  draining: boolean;
  uptime_seconds: number;
  components: Record<string, ComponentState>;
}

/** What the process says about itself. Neighbours (broker, database, sidecar) only ever make it `degraded`. */
export interface Health {
  live(): boolean;
  /** True between the end of start-up and the begin of shutdown. */
  ready(): boolean;
  setReady(ready: boolean): void;
  /** Shutdown has begun; not ready any more, for good. */
  setDraining(): void;
  /** Tells how a neighbour is; the last report for a name counts. */
  report(name: string, state: ComponentState): void;
  details(): HealthDetails;
}

export function createHealth(service: string): Health {
  const startedAt = process.hrtime.bigint();
  const components = new Map<string, ComponentState>();
  let ready = false;
  let draining = false;
  const isReady = () => ready && !draining;
  return {
    live: () => true, // whoever gets this answer has seen the event loop run
    ready: isReady,
    setReady: (value) => {
      ready = value;
    },
    setDraining: () => {
      draining = true;
    },
    report: (name, state) => {
      components.set(name, state);
    },
    details: () => ({
      service,
      status: [...components.values()].every((c) => c.status === 'ok') ? 'ok' : 'degraded',
      ready: isReady(),
      draining,
      uptime_seconds: Number((process.hrtime.bigint() - startedAt) / 1_000_000_000n),
      components: Object.fromEntries(components),
    }),
  };
}
