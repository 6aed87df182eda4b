import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type External, externalSecret } from '../generator/topology.ts';
import { appCommand } from './app.ts';
import { bundleFile } from './bundle.ts';
import { serviceUrls } from './databases.ts';
import { baseEnv } from './launch.ts';
import type { Instance } from './plan.ts';
import { POSTGRES_STOP, type PreparedPostgres, probePostgres } from './postgres.ts';
import { CHECKOUT } from './run-paths.ts';
import { appSecrets } from './secrets.ts';
import { sentryCommand, trustAnchors } from './sentry.ts';
import { portOf, type ShopContext, tokensOf } from './shop-context.ts';
import { sidecarCommand, writeSidecarFiles } from './sidecar.ts';
import type { ProcessSpec } from './supervisor.ts';
import { expectStatus } from './wait.ts';

/**
 * Stop order: the edge finishes what it accepted while the others still answer, they drain while their sidecars still
 * publish, and what they all stand on goes last.
 */
const RANK = { edge: 0, app: 1, sidecar: 2, outside: 3, sentry: 3, broker: 4, postgres: 5 } as const;

export function postgresSpec(context: ShopContext, prepared: PreparedPostgres): ProcessSpec {
  return {
    name: 'postgres',
    logFile: logFile(context, 'postgres'),
    command: () => prepared.command,
    probe: () => probePostgres(prepared.url),
    rank: RANK.postgres,
    stopSignal: POSTGRES_STOP,
    graceMs: 30_000,
  };
}

/** @param password is asked for at each start: a test changes it. */
export function brokerSpec(context: ShopContext, password: () => string): ProcessSpec {
  const { paths, programs, broker, brokerTasks } = context;
  const port = portOf(context, broker.name);
  const folder = paths[broker.name];
  return {
    name: broker.name,
    logFile: logFile(context, broker.name),
    command: () => broker.command({ program: programs.broker, folder, port, password: password() }),
    probe: brokerTasks.ping,
    afterStart: brokerTasks.prepare,
    rank: RANK.broker,
    stopSignal: 'SIGTERM',
    graceMs: 15_000,
  };
}

export function sentrySpec(context: ShopContext): ProcessSpec {
  const ports = {
    grpc: portOf(context, 'sentry'),
    health: portOf(context, 'sentry-health'),
  };
  return {
    name: 'sentry',
    logFile: logFile(context, 'sentry'),
    command: () =>
      sentryCommand({
        program: context.programs.sentry,
        folder: context.paths.sentry,
        caFolder: context.paths.ca,
        ports,
        certificateTtl: context.certificateTtl,
      }),
    probe: () => expectStatus(`http://127.0.0.1:${ports.health}/healthz`, 200),
    rank: RANK.sentry,
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
  };
}

/** Where the identity of an instance's sidecar lies. */
export const tokenFile = (context: ShopContext, instance: Instance) =>
  join(context.paths.tokens, `${instance.name}.jwt`);

/** Writes the local files of the service as well. */
export function sidecarSpec(context: ShopContext, instance: Instance, adminUrl: string): ProcessSpec {
  const { paths, topology, secrets, broker } = context;
  const { name, service } = instance;
  const ports = {
    http: portOf(context, `${name}-dapr-http`),
    grpc: portOf(context, `${name}-dapr-grpc`),
    internal: portOf(context, `${name}-dapr-internal`),
    metrics: portOf(context, `${name}-dapr-metrics`),
  };
  const externals = topology.externals.filter(({ users }) => users.includes(service));
  const files = {
    resourcesDir: join(paths.resources, service),
    configFile: join(paths.config, `${service}.yaml`),
  };
  writeSidecarFiles({
    appId: service,
    secrets: appSecrets({
      app: service,
      broker: broker.secret(portOf(context, broker.name), secrets.brokerPassword),
      ...(secrets.databases[service] ? { databaseUrl: serviceUrls(adminUrl, service, secrets).app } : {}),
      externals: Object.fromEntries(
        externals
          .map(({ name }) => externalSecret(service, name))
          .map((name) => [name, secrets.externals[name] ?? {}]),
      ),
    }),
    secretsFile: join(paths.secrets, `${service}.json`),
    nameResolutionFile: join(paths.names, 'hosts.db'),
    externals: externals.map((external) => ({ ...external, baseUrl: addressOf(context, external) })),
    files,
  });
  return {
    name: `${name}-dapr`,
    logFile: logFile(context, `${name}-dapr`),
    command: async () => {
      await context.mint.mint(service, tokenFile(context, instance));
      return sidecarCommand({
        program: context.programs.daprd,
        appId: service,
        namespace: topology.namespace,
        appPort: portOf(context, name),
        ports,
        sentryPort: portOf(context, 'sentry'),
        trustAnchors: trustAnchors(paths.ca),
        tokenFile: tokenFile(context, instance),
        ...tokensOf(context, service),
        componentsDir: join(context.generated, 'components'),
        daprDir: context.daprDir,
        local: files,
        folder: paths.root,
      });
    },
    probe: () => expectStatus(`http://127.0.0.1:${ports.http}/v1.0/healthz`, 204),
    rank: RANK.sidecar,
    stopSignal: 'SIGTERM',
    graceMs: 15_000,
  };
}

export function appSpec(context: ShopContext, instance: Instance): ProcessSpec {
  const { name, service, edge } = instance;
  const port = portOf(context, name);
  const extraEnv = context.appEnv[service];
  return {
    name,
    logFile: logFile(context, name),
    command: () =>
      appCommand({
        bundle: bundleFile(context.paths.dist, service),
        appId: service,
        instance: name,
        namespace: context.topology.namespace,
        port,
        sidecarHttpPort: portOf(context, `${name}-dapr-http`),
        ...tokensOf(context, service),
        folder: CHECKOUT,
        ...(extraEnv ? { extraEnv } : {}),
      }),
    probe: () => expectStatus(`http://127.0.0.1:${port}/readyz`, 200),
    rank: edge ? RANK.edge : RANK.app,
    stopSignal: 'SIGTERM',
    // Requests have 10 s, workers and the database pool 5 s each.
    graceMs: 25_000,
  };
}

/** Where an API outside is on this machine: its own address, or that of what stands in for it. */
function addressOf(context: ShopContext, { name, baseUrl, simulatorPort }: External): string {
  return simulatorPort === undefined ? baseUrl : `http://127.0.0.1:${portOf(context, name)}`;
}

/** What stands in for an API outside. It keeps its books in the run folder, as a company would through a restart. */
export function simulatorSpec(context: ShopContext, external: External): ProcessSpec {
  const { name, users, webhooks } = external;
  const { paths, topology, secrets, appEnv } = context;
  const port = portOf(context, name);
  const edge = context.instances.find((instance) => instance.edge)?.name ?? topology.edge;
  const folder = join(paths.external, name);
  const [user = ''] = users;
  const own = Object.entries(secrets.externals[externalSecret(user, name)] ?? {});
  return {
    name,
    logFile: logFile(context, name),
    command: () => {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      return {
        file: process.execPath,
        args: ['--enable-source-maps', '--max-semi-space-size=8', bundleFile(paths.dist, name)],
        env: {
          ...baseEnv(),
          NODE_ENV: 'production',
          PORT: String(port),
          HOST: '127.0.0.1',
          STATE_FILE: join(folder, 'operations.jsonl'),
          ...(webhooks && {
            WEBHOOK_URL: `http://127.0.0.1:${portOf(context, edge)}${webhooks.operation.path}`,
          }),
          ...Object.fromEntries(own.map(([key, value]) => [key.toUpperCase(), value])),
          ...appEnv[name],
        },
        cwd: CHECKOUT,
      };
    },
    probe: () => expectStatus(`http://127.0.0.1:${port}/readyz`, 200),
    rank: RANK.outside,
    stopSignal: 'SIGTERM',
    graceMs: 5_000,
  };
}

function logFile({ paths }: ShopContext, name: string): string {
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 });
  return join(paths.logs, `${name}.log`);
}
