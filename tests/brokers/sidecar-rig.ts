import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { loadBroker } from '../../generator/broker.ts';
import { daprOutputs } from '../../generator/dapr-outputs.ts';
import { parseTopology } from '../../generator/topology.ts';
import { baseEnv, type Command } from '../../local/launch.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { writeSidecarFiles } from '../../local/sidecar.ts';
import { testFolder } from '../../local/testing.ts';
import { until } from '../waiting.ts';

export interface Sidecar {
  http: number;
  /** Ends it by force. */
  kill(): Promise<void>;
}

/** A broker and sidecars, with what the generator makes of a small table and the broker's template. */
export interface SidecarRig {
  folder: string;
  /** Starts a program that is ended by force at the end of the test. */
  run(command: Command, log: string): ChildProcess;
  startSidecar(
    appId: string,
    o: {
      /** The broker's secret. */
      broker: Record<string, string>;
      /** What the sidecar demands; without one, it takes every call. */
      apiToken?: string;
      /** Other secrets, by name. */
      secrets?: Record<string, Record<string, string>>;
      /** The APIs outside that it calls, with their addresses. */
      externals?: { name: string; users: string[]; baseUrl: string }[];
      app?: { port: number; token?: string };
      /** The health path that is waited for; `healthz/outbound` does not ask whether the app is there. */
      ready?: 'healthz' | 'healthz/outbound';
    },
  ): Promise<Sidecar>;
}

/** A text in what is generated, and what a test has in its place. */
export type Change = readonly [from: string, to: string];

/** @param changes have to be found, each in one of the generated files at least: a test would prove nothing without its own. */
export async function openSidecarRig(o: {
  table: string;
  broker: string;
  changes?: readonly Change[];
}): Promise<SidecarRig> {
  const { daprd } = await ensurePrograms({ env: process.env, only: ['daprd'], progress: () => {} });
  const folder = testFolder();
  const outputs = daprOutputs(parseTopology(o.table), loadBroker(process.cwd(), o.broker));
  const changes = o.changes ?? [];
  const missing = changes.filter(([from]) => !outputs.some(({ content }) => content.includes(from)));
  if (missing.length > 0)
    throw new Error(`nothing generated says ${missing.map(([from]) => from).join(', or ')}`);
  for (const { path, content } of outputs) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    const changed = changes.reduce((text, [from, to]) => text.replaceAll(from, to), content);
    writeFileSync(join(folder, path), changed);
  }

  const running: ChildProcess[] = [];
  onTestFinished(async () => void (await Promise.all(running.map(killed))));
  const run = ({ file, args, env, cwd }: Command, log: string): ChildProcess => {
    const out = openSync(join(folder, log), 'a');
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', out, out] });
    running.push(child);
    return child;
  };

  return {
    folder,
    run,
    async startSidecar(appId, { broker, apiToken, secrets, externals = [], app, ready = 'healthz' }) {
      const files = {
        resourcesDir: join(folder, 'resources', appId),
        configFile: join(folder, `${appId}.yaml`),
      };
      mkdirSync(files.resourcesDir, { recursive: true });
      writeSidecarFiles({
        appId,
        secrets: { broker, ...secrets },
        externals,
        secretsFile: join(folder, `${appId}-secrets.json`),
        nameResolutionFile: join(folder, 'names', 'hosts.db'),
        files,
      });
      const { http, flags } = await sidecarFlags(appId);
      Object.assign(flags, {
        'disable-init-endpoints': 'config,subscribe',
        config: files.configFile,
        ...(app && { 'app-port': app.port, 'app-protocol': 'http' }),
      });
      const resources = [join(folder, 'components'), join(folder, 'dapr', appId), files.resourcesDir];
      const args = [
        ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
        ...resources.map((path) => `--resources-path=${path}`),
      ];
      const env = {
        ...baseEnv(),
        ...(apiToken && { DAPR_API_TOKEN: apiToken }),
        ...(app?.token && { APP_API_TOKEN: app.token }),
      };
      const log = `${appId}.log`;
      const child = run({ file: daprd.path, args, env, cwd: folder }, log);
      await until(`the sidecar of ${appId} to be up`, async () => {
        if (child.exitCode !== null) throw new Error(readFileSync(join(folder, log), 'utf8').slice(-2000));
        return (await fetch(`http://127.0.0.1:${http}/v1.0/${ready}`)).status === 204;
      });
      return { http, kill: () => killed(child) };
    },
  };
}

/** Of a sidecar on ports of its own that asks nobody for actors and jobs. */
export async function sidecarFlags(
  appId: string,
): Promise<{ http: number; flags: Record<string, string | number> }> {
  const [http, grpc, internal, metrics] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const flags = {
    mode: 'standalone',
    'app-id': appId,
    'dapr-http-port': http,
    'dapr-grpc-port': grpc,
    'dapr-internal-grpc-port': internal,
    'metrics-port': metrics,
    'dapr-listen-addresses': '127.0.0.1',
    'placement-host-address': '',
    'scheduler-host-address': '',
  };
  return { http, flags };
}

/** Ends it by force, if it runs. */
export async function killed(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
