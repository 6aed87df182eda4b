import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { databaseUrl, ensureDatabases } from '../platform/databases.ts';
import { bundleFile, bundleServices } from './bundle.ts';
import { componentFaults, lengthOf, noWayThrough } from './component-faults.ts';
import { migrationsPending, serviceUrls } from './databases.ts';
import { gather } from './gather.ts';
import { outdatedFiles } from './generated.ts';
import { baseEnv } from './launch.ts';
import { openReads, subscriptionCount } from './plan.ts';
import { preparePostgres } from './postgres.ts';
import { type Report, step } from './progress-events.ts';
import { openRunFolder, type RunFolder } from './run-folder.ts';
import { CHECKOUT } from './run-paths.ts';
import { runToEnd } from './run-to-end.ts';
import type { ShopOptions } from './shop.ts';
import { portOf, type ShopContext } from './shop-context.ts';
import {
  appSpec,
  brokerSpec,
  postgresSpec,
  sentrySpec,
  sidecarSpec,
  simulatorSpec,
} from './shop-processes.ts';
import { type ProcessSpec, type Supervised, supervise } from './supervisor.ts';
import { expectStatus, waitUntil } from './wait.ts';

/** A shop that runs and is ready. */
export interface Up {
  context: ShopContext;
  supervised: Supervised[];
  /** The database server's superuser. */
  adminUrl: string;
  /** What the broker will ask for from its next start on. */
  setBrokerPassword(password: string): void;
  /** Hears each time that a process became ready again. */
  onReady(listener: () => void): void;
  /** Ends everything in order and leaves the run folder. */
  end(): Promise<void>;
}

/** Starts everything, as much of it at once as depends on nothing else. Ends what it started when one part fails. */
export async function bringUp(o: ShopOptions, report: Report): Promise<Up> {
  o.signal?.throwIfAborted();
  const say = (text: string) => report({ kind: 'notice', text });
  const run = await openRunFolder({ runDir: o.runDir, fresh: o.fresh ?? false, say });
  const supervised: Supervised[] = [];
  let readyAgain = () => {};
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= endInRanks(supervised, report);
    return ended;
  };
  const onAbort = () => void end();
  o.signal?.addEventListener('abort', onAbort);

  try {
    const context = await gather(o, run, report);
    let brokerPassword = context.secrets.brokerPassword;
    const start = (spec: ProcessSpec): Promise<void> => {
      if (ended) throw new Error(`${spec.name} is not started any more`);
      const process = supervise(spec, { ledger: run.ledger, say, onReady: () => readyAgain() });
      supervised.push(process);
      return process.start();
    };
    const { paths, secrets, instances, topology } = context;
    const simulated = topology.externals.filter(({ simulatorPort }) => simulatorPort !== undefined);
    const adminUrl = databaseUrl(`postgres://127.0.0.1:${portOf(context, 'postgres')}`, 'postgres', {
      user: 'postgres',
      password: secrets.postgresPassword,
    });

    const postgres = step(report, 'PostgreSQL', async () => {
      const port = portOf(context, 'postgres');
      const prepared = await preparePostgres({
        dataDir: paths.postgres,
        port,
        superuserPassword: secrets.postgresPassword,
      });
      await start(postgresSpec(context, prepared));
    });
    const broker = step(report, context.broker.title, async () => {
      await start(brokerSpec(context, () => brokerPassword));
      await alignConsumers(context);
    });
    const sentry = step(report, 'sentry', () => start(sentrySpec(context)));
    const bundles = step(report, 'bundles of the services', () =>
      bundleServices(
        topology.services.map(({ name }) => name),
        paths.dist,
        simulated.map(({ name }) => name),
      ),
    );
    const simulators = bundles.then(() =>
      all(simulated, (external) =>
        step(report, `${external.name} (simulator)`, () => start(simulatorSpec(context, external))),
      ),
    );
    const databases = Promise.all([postgres, bundles]).then(() =>
      step(report, 'databases and migrations', () => prepareDatabases(context, adminUrl, run)),
    );
    // A sidecar is healthy only when its app is, so the two are waited for together.
    // The names that another run left are nobody's any more.
    rmSync(paths.names, { recursive: true, force: true });
    const sidecarLogs: Parameters<typeof componentFaults>[0] = [];
    const sidecars = Promise.all([broker, sentry]).then(() =>
      step(report, 'sidecars', () =>
        all(instances, (instance) => {
          const spec = sidecarSpec(context, instance, adminUrl);
          sidecarLogs.push({ app: instance.service, logFile: spec.logFile, from: lengthOf(spec.logFile) });
          return start(spec);
        }),
      ),
    );
    const apps = databases.then(() =>
      step(report, 'services', () => all(instances, (instance) => start(appSpec(context, instance)))),
    );
    // While the others start: this process has nothing else to do.
    const checked = Promise.resolve().then(() => {
      const outdated = outdatedFiles(topology, context.generated);
      if (outdated) say(outdated);
    });
    const faults = () => componentFaults(sidecarLogs, join(context.generated, 'components'));
    // Also when the start fails: then this may be why.
    const works = [checked, postgres, broker, sentry, bundles, simulators, databases, sidecars, apps];
    await together(works, end).finally(() => faults().forEach(say));
    await step(report, 'the way through it all', () =>
      reallyReady(context, o.signal).catch((err: Error) => {
        throw noWayThrough(err, faults(), context.paths.logs);
      }),
    );
    o.signal?.throwIfAborted();
    return {
      context,
      supervised,
      adminUrl,
      setBrokerPassword(password) {
        brokerPassword = password;
      },
      onReady(listener) {
        readyAgain = listener;
      },
      async end() {
        await end();
        run.close();
      },
    };
  } catch (err) {
    await end();
    run.close();
    throw o.signal?.aborted ? o.signal.reason : err;
  } finally {
    o.signal?.removeEventListener('abort', onAbort);
  }
}

async function all<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  await Promise.all(items.map(work));
}

/** Waits for all; the first failure ends what the others still wait for, and is the one that is thrown. */
async function together(works: Promise<unknown>[], onFailure: () => Promise<void>): Promise<void> {
  let first: { err: unknown } | undefined;
  await Promise.all(
    works.map((work) =>
      work.catch((err: unknown) => {
        first ??= { err };
        void onFailure();
      }),
    ),
  );
  if (first) throw first.err;
}

async function endInRanks(supervised: Supervised[], report: Report): Promise<void> {
  const ranks = [...new Set(supervised.map((process) => process.rank))].sort((a, b) => a - b);
  for (const rank of ranks) {
    await all(
      supervised.filter((process) => process.rank === rank),
      async (process) => {
        const how = await process.end();
        if (how === 'stopped') report({ kind: 'done', text: `stopped ${process.name}` });
        if (how === 'killed') report({ kind: 'notice', text: `killed  ${process.name}` });
      },
    );
  }
}

async function prepareDatabases(context: ShopContext, adminUrl: string, run: RunFolder): Promise<void> {
  const { paths, secrets, topology } = context;
  await ensureDatabases(adminUrl, secrets.databases);
  await all(
    topology.services.filter(({ database }) => database),
    async ({ name }) => {
      const folder = join(CHECKOUT, 'services', name, 'migrations');
      if (!(await migrationsPending(adminUrl, name, folder))) return;
      await runToEnd({
        name: `migrations of ${name}`,
        ledger: run.ledger,
        logFile: join(paths.logs, `${name}-migrations.log`),
        command: {
          file: process.execPath,
          args: ['--enable-source-maps', bundleFile(paths.dist, 'migrate')],
          env: {
            ...baseEnv(),
            DATABASE_URL: serviceUrls(adminUrl, name, secrets).owner,
            MIGRATIONS_DIR: folder,
          },
          cwd: CHECKOUT,
        },
      });
    },
  );
}

/** A component may have been changed since the last start. */
async function alignConsumers({ brokerTasks, say }: ShopContext): Promise<void> {
  const changed = await brokerTasks.align();
  if (changed.length > 0) say(`consumers brought to what components/ says now: ${changed.join(', ')}`);
}

const READY_MS = 60_000;

/** Health says that each part is well; this says that messages and requests find their way. */
async function reallyReady(context: ShopContext, signal: AbortSignal | undefined): Promise<void> {
  const { topology, instances, brokerTasks } = context;
  const readers = subscriptionCount(topology, instances);
  const limits = { timeoutMs: READY_MS, everyMs: 100, ...(signal ? { signal } : {}) };
  await waitUntil(
    'the subscriptions of the sidecars',
    async () => {
      const missing = await brokerTasks.unread(readers);
      if (missing.length > 0)
        throw new Error(`no subscriber for ${missing.join(', ')}; see the logs of their sidecars`);
    },
    limits,
  );
  const edge = instances.find((instance) => instance.edge);
  const gateway = `http://127.0.0.1:${portOf(context, edge?.name ?? topology.edge)}`;
  for (const path of openReads(topology))
    await waitUntil(`GET ${path} at the gateway`, () => expectStatus(`${gateway}${path}`, 200), limits);
}
