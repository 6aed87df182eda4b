import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { streamsFile } from '../generator/broker.ts';
import { baseEnv } from '../local/launch.ts';
import type { Ledger } from '../local/ledger.ts';
import { freePort } from '../local/ports.ts';
import { ensurePrograms } from '../local/programs/programs.ts';
import { jwksFile, sentryCommand, trustAnchors } from '../local/sentry.ts';
import { sidecarCommand, writeSidecarFiles } from '../local/sidecar.ts';
import { supervise } from '../local/supervisor.ts';
import { openTokenMint } from '../local/tokens.ts';
import { expectStatus } from '../local/wait.ts';
import { ensureStreams, readBrokerWanted } from '../platform/streams.ts';
import { bundle } from './bundle.ts';

/** Two sidecars with an echo behind each, set up like the shop's own: what the shop's way costs without the shop. */
export interface Rig {
  /** Straight to the echo. */
  echoUrl: string;
  /** Through the caller's sidecar and the callee's: `POST /echo` with these headers. */
  hop: { url: string; headers: Record<string, string> };
  /** To the broker, with these headers. */
  publish: { url: string; headers: Record<string, string> };
  /** Straight to the program behind the second sidecar. */
  calleeUrl: string;
  /** When each message reached the echo behind the second sidecar. */
  arrivals(): Promise<Record<string, number>>;
  /** Ids of its processes by name: `bench-caller`, `bench-caller-dapr` and so on. */
  processes(): Record<string, number>;
  stop(): Promise<void>;
}

export interface RigOptions {
  /** With its login. The messages go to a stream of their own there. */
  brokerUrl: string;
  /** Program behind the second sidecar instead of the echo; it takes messages at `POST /messages`. */
  callee?: string;
  /** Components that share the subscription, as a topic of the topology has them; default 1. */
  lanes?: number;
}

const TOPIC = 'bench';
const NAMESPACE = 'shop';

/** Starts it on a running broker, with a sentry of its own. */
export async function startRig(folder: string, o: RigOptions): Promise<Rig> {
  const programs = await ensurePrograms({ progress: () => {}, env: process.env });
  const components = Array.from(
    { length: o.lanes ?? 1 },
    (_, lane) => `pubsub-bench${lane > 0 ? `-${lane}` : ''}`,
  );
  const dirs = ['components', 'sentry', 'ca', 'tokens', 'secrets', 'names', 'logs'].map((name) =>
    join(folder, name),
  );
  for (const dir of dirs) mkdirSync(dir, { recursive: true });
  for (const name of components)
    writeFileSync(join(folder, 'components', `${name}.yaml`), benchComponent(name));
  const [template] = readBrokerWanted(streamsFile('jetstream')).streams;
  if (!template) throw new Error('there is no stream to take as a pattern');
  await ensureStreams(o.brokerUrl, [{ ...template, name: TOPIC, subjects: [TOPIC] }]);

  const noLedger: Ledger = { add() {}, remove() {}, entries: () => [], close() {} };
  const deps = { ledger: noLedger, say: (text: string) => console.error(text) };
  const started: ReturnType<typeof supervise>[] = [];
  const run = async (spec: Parameters<typeof supervise>[0]) => {
    const process = supervise(spec, deps);
    started.push(process);
    await process.start();
  };
  const stop = async () => {
    for (const process of started.reverse()) await process.end();
  };

  try {
    const sentryPorts = { grpc: await freePort(), health: await freePort(), metrics: await freePort() };
    const mint = await openTokenMint({
      keyFile: join(folder, 'tokens', 'key.json'),
      jwksFile: jwksFile(join(folder, 'sentry')),
      namespace: NAMESPACE,
    });
    await run({
      name: 'bench-sentry',
      logFile: join(folder, 'logs', 'sentry.log'),
      command: () =>
        sentryCommand({
          program: programs.sentry.path,
          folder: join(folder, 'sentry'),
          caFolder: join(folder, 'ca'),
          ports: sentryPorts,
        }),
      probe: () => expectStatus(`http://127.0.0.1:${sentryPorts.health}/healthz`, 200),
      rank: 1,
      stopSignal: 'SIGTERM',
      graceMs: 10_000,
    });
    const echo = 'bench/echo-app.ts';
    const callee = await startPair('bench-callee', o.callee ?? echo);
    const caller = await startPair('bench-caller', echo);
    const token = { 'dapr-api-token': API_TOKEN };
    return {
      echoUrl: `http://127.0.0.1:${callee.appPort}`,
      hop: {
        url: `http://127.0.0.1:${caller.http}/echo`,
        headers: { ...token, 'dapr-app-id': 'bench-callee' },
      },
      publish: {
        url: `http://127.0.0.1:${caller.http}/v1.0/publish/pubsub-bench/${TOPIC}`,
        headers: { ...token, 'content-type': 'application/cloudevents+json' },
      },
      calleeUrl: `http://127.0.0.1:${callee.appPort}`,
      arrivals: async () =>
        (await (await fetch(`http://127.0.0.1:${callee.appPort}/times`)).json()) as Record<string, number>,
      processes: () => Object.fromEntries(started.map(({ name, pid }) => [name, pid])),
      stop,
    };

    async function startPair(appId: string, source: string): Promise<{ appPort: number; http: number }> {
      const appPort = await freePort();
      const program = join(folder, `${appId}.mjs`);
      bundle(source, program);
      const ports = {
        http: await freePort(),
        grpc: await freePort(),
        internal: await freePort(),
        metrics: await freePort(),
      };
      const tokenFile = join(folder, 'tokens', `${appId}.jwt`);
      const local = {
        resourcesDir: join(folder, 'resources', appId),
        configFile: join(folder, 'config', `${appId}.yaml`),
      };
      for (const dir of [local.resourcesDir, dirname(local.configFile), join(folder, 'dapr', appId)])
        mkdirSync(dir, { recursive: true });
      writeFileSync(join(folder, 'dapr', appId, 'configuration.yaml'), stringify(configuration(appId)));
      writeFileSync(
        join(folder, 'dapr', appId, 'subscriptions.yaml'),
        components.map((name) => stringify(subscription(name))).join('---\n'),
      );
      writeSidecarFiles({
        appId,
        secrets: { broker: { url: o.brokerUrl } },
        secretsFile: join(folder, 'secrets', `${appId}.json`),
        nameResolutionFile: join(folder, 'names', 'hosts.db'),
        files: local,
      });
      const app = run({
        name: appId,
        logFile: join(folder, 'logs', `${appId}.log`),
        command: () => ({
          file: process.execPath,
          args: ['--max-semi-space-size=8', program],
          env: { ...baseEnv(), PORT: String(appPort) },
          cwd: folder,
        }),
        probe: () => expectStatus(`http://127.0.0.1:${appPort}/readyz`, 200),
        rank: 1,
        stopSignal: 'SIGTERM',
        graceMs: 5_000,
      });
      const sidecar = run({
        name: `${appId}-dapr`,
        logFile: join(folder, 'logs', `${appId}-dapr.log`),
        command: async () => {
          await mint.mint(appId, tokenFile);
          return sidecarCommand({
            program: programs.daprd.path,
            appId,
            namespace: NAMESPACE,
            appPort,
            ports,
            sentryPort: sentryPorts.grpc,
            trustAnchors: trustAnchors(join(folder, 'ca')),
            tokenFile,
            apiToken: API_TOKEN,
            appToken: 'bench-app-token',
            componentsDir: join(folder, 'components'),
            daprDir: join(folder, 'dapr'),
            local,
            folder,
          });
        },
        probe: () => expectStatus(`http://127.0.0.1:${ports.http}/v1.0/healthz`, 204),
        rank: 1,
        stopSignal: 'SIGTERM',
        graceMs: 10_000,
      });
      await Promise.all([app, sidecar]);
      return { appPort, http: ports.http };
    }
  } catch (err) {
    await stop();
    throw err;
  }
}

const API_TOKEN = 'bench-api-token';

/** The shop's own component of one topic, for another topic: the same settings by construction. */
function benchComponent(name: string): string {
  const yaml = readFileSync('components/pubsub-products.yaml', 'utf8')
    .replaceAll('pubsub-products', name)
    .replaceAll('-products', '-bench')
    .replace(/(allowedTopics|protectedTopics)(\s+value: ).*/g, '$1$2"bench"')
    .replace(/(publishingScopes\s+value: ).*/, '$1"bench-caller=bench;bench-callee="')
    .replace(/(subscriptionScopes\s+value: ).*/, '$1"bench-callee=bench;bench-caller="')
    .replace(/^scopes: .*$/m, 'scopes: [bench-caller, bench-callee]');
  if (yaml.includes('products"'))
    throw new Error('the component of products has a form that this does not know');
  return yaml;
}

const subscription = (component: string) => ({
  apiVersion: 'dapr.io/v2alpha1',
  kind: 'Subscription',
  metadata: { name: component },
  spec: { pubsubname: component, topic: TOPIC, routes: { default: '/messages' } },
  scopes: ['bench-callee'],
});

function configuration(appId: string) {
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: appId },
    spec: {
      accessControl: {
        defaultAction: 'deny',
        trustDomain: 'public',
        policies: [
          {
            appId: 'bench-caller',
            defaultAction: 'deny',
            trustDomain: 'public',
            namespace: NAMESPACE,
            operations: [{ name: '/echo', httpVerb: ['POST'], action: 'allow' }],
          },
        ],
      },
    },
  };
}
