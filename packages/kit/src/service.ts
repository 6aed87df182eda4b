import type { Hono } from 'hono';
import type { z } from 'zod';
import { baseConfig, loadConfig } from './config.ts';
import { createDapr, type Dapr } from './dapr.ts';
import { createDatabaseWatch } from './database-watch.ts';
import type { Database } from './db.ts';
import { createHealth, type Health } from './health.ts';
import { createLogger, type Logger } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { listen, type RunningServer } from './server.ts';

/** Something that runs beside the HTTP side: a relay, a watch, housekeeping. */
export interface Worker {
  name: string;
  start(): void | Promise<void>;
  /** Resolves when nothing of it runs any more. */
  stop(): Promise<void>;
}

/** What every service gets, so that its own main, config and app stay small. */
export interface ServiceBase<S extends z.ZodObject, D extends boolean> {
  config: Readonly<z.infer<S>>;
  log: Logger;
  metrics: Metrics;
  health: Health;
  dapr: Dapr;
  database: D extends true ? Database : undefined;
}

export interface BuiltService {
  // biome-ignore lint/suspicious/noExplicitAny: apps of any environment
  app: Hono<any, any, any>;
  workers?: Worker[];
}

export interface ServiceOptions<S extends z.ZodObject, D extends boolean> {
  env: Record<string, string | undefined>;
  service: string;
  /** Extends {@link baseConfig}; default is that alone. */
  config?: S;
  /** True: reads the secret `<service>-db`, key `url`, and opens a pool. */
  database: D;
  build(base: ServiceBase<S, D>): BuiltService | Promise<BuiltService>;
}

const SECRET_STORE = 'kubernetes';
const SIDECAR_START_MS = 60_000;
const REQUESTS_GRACE_MS = 10_000;
const WORKER_GRACE_MS = 5_000;
/** For all workers and the pool together: a pod has only so long before it is killed. */
const WORKERS_GRACE_MS = 10_000;
/** What a service takes to stop at most, and a second for itself; a pod's grace period has to be longer. */
export const STOP_WITHIN_MS = REQUESTS_GRACE_MS + WORKERS_GRACE_MS + 1_000;

/**
 * Runs a service from start to end: config, log, sidecar, secret, database, `build`, workers, listen, ready; at SIGTERM
 * or SIGINT the same way back, within 21 s. Its sidecar has to outlive it: requests under way call others, and the relay
 * publishes. Takes the process over: a fault at start-up, or one that nobody caught, is logged as one line and ends it
 * with code 1.
 *
 * @example
 * await runService({ env: process.env, service: 'orders', database: true, build: (base) => ({ app: createOrders(base) }) });
 */
export async function runService<S extends z.ZodObject = typeof baseConfig, D extends boolean = boolean>(
  o: ServiceOptions<S, D>,
): Promise<void> {
  let log = createLogger({ service: o.service, level: 'info' });
  const health = createHealth(o.service);
  const running: Running = { workers: [] };
  let stopping = false;

  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    health.setDraining();
    log.info({ signal }, 'stopping');
    void shutDown(running, log).then(() => {
      log.info('stopped');
      process.exit(0);
    });
  };
  const die = (err: unknown, message: string) => {
    log.fatal({ err }, message);
    process.exit(1);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Node writes its warnings as text between our lines of JSON; the SDK's dependencies cause two at each start.
  process.removeAllListeners('warning');
  process.on('warning', (err) =>
    log[err.name === 'DeprecationWarning' ? 'debug' : 'warn']({ err }, 'warning'),
  );
  process.on('uncaughtException', (err) => die(err, 'uncaught exception'));
  process.on('unhandledRejection', (err) => die(err, 'unhandled rejection'));

  const step = async <T>(cure: string, work: () => T | Promise<T>): Promise<T> => {
    try {
      if (stopping) throw new StoppedWhileStarting();
      return await work();
    } catch (err) {
      if (!stopping) {
        log.fatal({ err, cure: cureOf(err) ?? cure }, 'start-up failed');
        process.exit(1);
      }
      throw new StoppedWhileStarting();
    }
  };

  try {
    const config = await step('Correct the environment of this process.', () =>
      loadConfig((o.config ?? baseConfig) as typeof baseConfig, o.env),
    );
    log = createLogger({ service: o.service, level: config.LOG_LEVEL });
    const metrics = createMetrics(o.service);
    const dapr = createDapr({ httpPort: config.DAPR_HTTP_PORT, apiToken: config.DAPR_API_TOKEN });
    await step(
      `Start the sidecar of ${config.APP_ID} on port ${config.DAPR_HTTP_PORT} and look at its log.`,
      () => dapr.waitForOutbound(SIDECAR_START_MS),
    );
    if (o.database)
      running.database = await openDatabase(o.service, config.HOSTNAME ?? o.service, dapr, step);
    const base = { config, log, metrics, health, dapr, database: running.database };
    const { app, workers: own = [] } = await step('Look at err: the service could not be put together.', () =>
      o.build(base as unknown as ServiceBase<S, D>),
    );
    const { database } = running;
    const workers = database ? [...own, createDatabaseWatch({ database, health, metrics, log })] : own;
    for (const worker of workers) {
      running.workers.push(worker);
      await step(`Look at err: worker ${worker.name} could not start.`, () => worker.start());
    }
    // Last: the sidecar asks as soon as the port is open, and refuses calls for 2 s to an app that is not ready then.
    running.server = await step(`Free port ${config.PORT} on ${config.HOST}, or set PORT to another.`, () =>
      listen({ fetch: app.fetch, port: config.PORT, host: config.HOST }),
    );
    if (stopping) return;
    health.setReady(true);
    log.info({ port: running.server.port }, 'ready');
  } catch (err) {
    if (!(err instanceof StoppedWhileStarting)) throw err;
  }
}

/** What the error itself says of it knows more than who called. */
function cureOf(err: unknown): string | undefined {
  return err instanceof Error && 'cure' in err && typeof err.cure === 'string' ? err.cure : undefined;
}

class StoppedWhileStarting extends Error {}

interface Running {
  server?: RunningServer;
  workers: Worker[];
  database?: Database;
}

async function openDatabase(
  service: string,
  applicationName: string,
  dapr: Dapr,
  step: <T>(cure: string, work: () => T | Promise<T>) => Promise<T>,
): Promise<Database> {
  const name = `${service}-db`;
  const { url } = await step(
    `Give app ${service} the secret ${name} with key url in store ${SECRET_STORE}.`,
    () => dapr.getSecret(SECRET_STORE, name),
  );
  return step(`Put a PostgreSQL URL into secret ${name}, key url.`, async () => {
    if (url === undefined) throw new Error(`Secret ${name} has no key url`);
    const { connectDatabase } = await import('./db.ts'); // a service without a database need not load it
    return connectDatabase({ url, applicationName });
  });
}

async function shutDown(running: Running, log: Logger): Promise<void> {
  await running.server?.close(REQUESTS_GRACE_MS);
  const until = performance.now() + WORKERS_GRACE_MS;
  const graceMs = () => Math.max(0, Math.min(WORKER_GRACE_MS, until - performance.now()));
  for (const worker of running.workers.reverse()) {
    await withinGrace(() => worker.stop(), graceMs(), worker.name, log);
  }
  if (running.database) await withinGrace(running.database.close, graceMs(), 'database', log);
}

/** One part that cannot stop must not keep the others from stopping. */
async function withinGrace(
  stop: () => Promise<void>,
  graceMs: number,
  name: string,
  log: Logger,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), graceMs);
  });
  try {
    if ((await Promise.race([stop(), late])) === 'late') log.warn({ name }, 'did not stop in time');
  } catch (err) {
    log.warn({ name, err }, 'failed to stop');
  } finally {
    clearTimeout(timer);
  }
}
