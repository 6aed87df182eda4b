import { rmSync } from 'node:fs';
import { databaseUrl } from '../platform/databases.ts';
import { bringUp } from './bring-up.ts';
import { createBrokerWatch } from './broker-watch.ts';
import { killGroup } from './ending.ts';
import { readLedger } from './ledger.ts';
import type { Instance } from './plan.ts';
import { writePrivateJson } from './private-file.ts';
import type { ShopEvent } from './progress-events.ts';
import { runPaths } from './run-paths.ts';
import { portOf, tokensOf } from './shop-context.ts';
import type { ShopFile } from './shop-file.ts';
import { tokenFile } from './shop-processes.ts';
import type { ManagedProcess, ProcessState } from './supervisor.ts';
import { TOKEN_RENEWAL_MS } from './tokens.ts';

export type { ManagedProcess } from './supervisor.ts';

export interface ShopOptions {
  /** Holds everything that belongs to this shop: data, secrets, logs. Made when missing. */
  runDir: string;
  /** Begin anew: earlier data and secrets are removed. */
  fresh?: boolean;
  /** Processes per service, where the topology's number is not wanted. */
  replicas?: Partial<Record<string, number>>;
  /** Path of the sidecar program, instead of the one that would be found. */
  daprd?: string;
  /** Instead of the one that topology.yaml names. */
  broker?: string;
  /** Instead of the checkout's `dapr/`: for a test that changes a rule. */
  daprDir?: string;
  /** How long a sidecar's certificate is good for, for a test that waits for the next one. */
  certificateTtl?: string;
  /** Further environment of a service's processes. */
  appEnv?: Partial<Record<string, Record<string, string>>>;
  /** Gives a start up, and stops what it has started. */
  signal?: AbortSignal;
  progress?: (event: ShopEvent) => void;
}

export interface ProcessInfo {
  name: string;
  pid: number;
  state: ProcessState;
  restarts: number;
  logFile: string;
  /** Where it listens, without any login. */
  url: string;
}

/** How a service and its sidecar are reached from this machine, by those who may know their tokens. */
export interface Endpoints {
  appPort: number;
  appToken: string;
  daprHttpPort: number;
  daprInternalPort: number;
  daprApiToken: string;
}

export interface Shop {
  gatewayUrl: string;
  /** Name of the broker's process. */
  broker: string;
  /** Address of the broker, with its login. */
  brokerUrl: string;
  processes(): ProcessInfo[];
  /** By name: `postgres`, `nats`, `sentry`, `orders`, `orders-dapr`, with several replicas `orders-2`, `orders-2-dapr`. */
  find(name: string): ManagedProcess;
  endpoints(name: string): Endpoints;
  /** The Dapr components of a topic, the one to publish to first. */
  components(topic: string): string[];
  /** URL of the database server's superuser in one database: for tests and tools, never for a service. */
  adminUrl(database: string): string;
  /** Makes the broker refuse every login, as a test's way to cut the sidecars off for good; `unlockBroker` ends it. */
  lockBroker(): Promise<void>;
  unlockBroker(): Promise<void>;
  /** Empties the broker's store; hold `nats` first. */
  wipeBroker(): Promise<void>;
  /** Stops everything in order; resolves when nothing runs any more. */
  stop(): Promise<void>;
}

/** Of those that do not speak HTTP. */
const PROTOCOLS: Partial<Record<string, string>> = {
  postgres: 'postgres',
  nats: 'nats',
  redis: 'redis',
  sentry: 'grpc',
};

const WATCH_MS = 3_000;

/**
 * Starts the whole shop as processes of this machine and resolves when it is really ready: every app and sidecar
 * healthy, every consumer on the broker, the gateway answering through all of them.
 * @throws ShopError (or another error with a `cure`) when it cannot; nothing is left running then.
 */
export async function startShop(o: ShopOptions): Promise<Shop> {
  const report = o.progress ?? (() => {});
  const say = (text: string) => report({ kind: 'notice', text });
  const up = await bringUp(o, report);
  const { context, supervised, adminUrl } = up;
  const { paths, topology, instances, secrets, broker } = context;
  const brokerPort = portOf(context, broker.name);
  const edge = instances.find((instance) => instance.edge) as Instance;
  const gatewayUrl = `http://127.0.0.1:${portOf(context, edge.name)}`;

  const find = (name: string) => {
    const found = supervised.find((process) => process.name === name);
    if (!found)
      throw new Error(`no process is called ${name}; there are ${supervised.map((p) => p.name).join(', ')}`);
    return found;
  };
  const processes = (): ProcessInfo[] =>
    supervised.map(({ name, pid, state, restarts, logFile }) => {
      const url = `${PROTOCOLS[name] ?? 'http'}://127.0.0.1:${portOf(context, name in context.ports ? name : `${name}-http`)}`;
      return { name, pid, state, restarts, logFile, url };
    });
  const writeShopFile = () =>
    writePrivateJson(paths.shop, {
      gatewayUrl,
      pid: process.pid,
      broker: broker.name,
      processes: processes(),
    } satisfies ShopFile);

  const watch = createBrokerWatch({ tasks: context.brokerTasks, say });
  await watch.look();
  watch.start(WATCH_MS);
  const renewal = setInterval(async () => {
    for (const instance of instances)
      await context.mint
        .mint(instance.service, tokenFile(context, instance))
        .catch((err: Error) => say(`no new token for ${instance.name}: ${err.message}`));
  }, TOKEN_RENEWAL_MS);
  writeShopFile();
  up.onReady(writeShopFile);

  let stopped: Promise<void> | undefined;
  const stop = async () => {
    watch.stop();
    clearInterval(renewal);
    up.onReady(() => {});
    rmSync(paths.shop, { force: true });
    await up.end();
  };

  let brokerPassword = secrets.brokerPassword;
  const changeBrokerPassword = async (password: string) => {
    const oldPassword = brokerPassword;
    brokerPassword = password;
    up.setBrokerPassword(password);
    const hangUp = () => find(broker.name).kill('SIGHUP');
    const folder = paths[broker.name];
    await broker.changePassword({ folder, port: brokerPort, password, oldPassword, hangUp });
  };

  return {
    gatewayUrl,
    broker: broker.name,
    brokerUrl: broker.url(brokerPort, secrets.brokerPassword),
    processes,
    find,
    endpoints(name) {
      const { service } = instances.find((instance) => instance.name === name) ?? { service: name };
      const { apiToken, appToken } = tokensOf(context, service);
      return {
        appPort: portOf(context, name),
        appToken,
        daprHttpPort: portOf(context, `${name}-dapr-http`),
        daprInternalPort: portOf(context, `${name}-dapr-internal`),
        daprApiToken: apiToken,
      };
    },
    components: (topic) =>
      topology.topics.find(({ name }) => name === topic)?.components.map(({ name }) => name) ?? [],
    adminUrl: (database) => databaseUrl(adminUrl, database),
    lockBroker: () => changeBrokerPassword(`not-${secrets.brokerPassword}`),
    unlockBroker: () => changeBrokerPassword(secrets.brokerPassword),
    async wipeBroker() {
      if (find(broker.name).state !== 'held') throw new Error('hold the broker before its store is emptied');
      rmSync(broker.store(paths[broker.name]), { recursive: true, force: true });
    },
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

/** Kills at once whatever the runner of this folder has started, for a user who does not want to wait. */
export function killShop(runDir: string): void {
  const { ledger } = runPaths(runDir);
  for (const entry of readLedger(ledger)) killGroup(entry);
}
