import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { httpEndpoint } from '../generator/endpoints.ts';
import { baseEnv, type Command } from './launch.ts';
import { writePrivateFile, writePrivateJson } from './private-file.ts';
import { CONTROL_PLANE } from './tokens.ts';

export interface SidecarPorts {
  http: number;
  grpc: number;
  internal: number;
  metrics: number;
}

export interface SidecarOptions {
  program: string;
  appId: string;
  namespace: string;
  appPort: number;
  ports: SidecarPorts;
  sentryPort: number;
  /** Content of the certificate that all sidecars trust. */
  trustAnchors: string;
  tokenFile: string;
  apiToken: string;
  appToken: string;
  /** Folders with the same YAML that is used on Kubernetes. */
  componentsDir: string;
  daprDir: string;
  /** What exists on this machine only, as written by `writeSidecarFiles`. */
  local: SidecarFiles;
  folder: string;
}

/** Dapr files of one app that are not the same everywhere. */
export interface SidecarFiles {
  resourcesDir: string;
  configFile: string;
}

/** Writes the local stand-in for Kubernetes' secret store and for its name resolution. */
export function writeSidecarFiles(o: {
  appId: string;
  secrets: Record<string, Record<string, string>>;
  secretsFile: string;
  nameResolutionFile: string;
  /** The APIs outside that the app calls, with their addresses on this machine. */
  externals?: { name: string; users: string[]; baseUrl: string }[];
  files: SidecarFiles;
}): void {
  writePrivateJson(o.secretsFile, o.secrets);
  writePrivateFile(join(o.files.resourcesDir, 'secrets.yaml'), stringify(secretStore(o.secretsFile)));
  for (const external of o.externals ?? [])
    writePrivateFile(
      join(o.files.resourcesDir, `external-${external.name}.yaml`),
      stringify(httpEndpoint(external)),
    );
  mkdirSync(dirname(o.nameResolutionFile), { recursive: true, mode: 0o700 });
  writePrivateFile(o.files.configFile, stringify(nameResolution(o.appId, o.nameResolutionFile)));
}

/** Says how to start a sidecar. Nothing is blocked at shutdown: the runner stops it only after its app has drained. */
export function sidecarCommand(o: SidecarOptions): Command {
  const flags: Record<string, string | number> = {
    mode: 'standalone',
    'app-id': o.appId,
    'app-port': o.appPort,
    'app-protocol': 'http',
    'dapr-http-port': o.ports.http,
    'dapr-grpc-port': o.ports.grpc,
    'dapr-internal-grpc-port': o.ports.internal,
    'dapr-listen-addresses': '127.0.0.1',
    'dapr-internal-grpc-listen-address': '127.0.0.1',
    'metrics-port': o.ports.metrics,
    'metrics-listen-address': '127.0.0.1',
    'sentry-address': `127.0.0.1:${o.sentryPort}`,
    'control-plane-trust-domain': CONTROL_PLANE.trustDomain,
    'control-plane-namespace': CONTROL_PLANE.namespace,
    // No actors, jobs or workflows here: no placement, no scheduler.
    'placement-host-address': '',
    'scheduler-host-address': '',
    'app-health-check-path': '/readyz',
    'app-health-probe-interval': 2,
    'app-health-threshold': 3,
    'dapr-graceful-shutdown-seconds': 5,
    'read-buffer-size': '16Ki',
    'max-body-size': '4Mi',
    'disable-init-endpoints': 'config,subscribe',
  };
  const configs = [join(o.daprDir, o.appId, 'configuration.yaml'), o.local.configFile];
  const resources = [o.componentsDir, join(o.daprDir, o.appId), o.local.resourcesDir];
  return {
    file: o.program,
    args: [
      ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
      ...configs.map((file) => `--config=${file}`),
      ...resources.map((folder) => `--resources-path=${folder}`),
      '--enable-mtls',
      '--enable-app-health-check',
      '--log-as-json',
    ],
    env: {
      ...baseEnv(),
      // With a thread per core Go wakes a second one for most hand-overs; on one an order is confirmed a sixth sooner.
      GOMAXPROCS: '1',
      NAMESPACE: o.namespace,
      // What the others find in the name resolution: the address that the internal port listens on.
      DAPR_HOST_IP: '127.0.0.1',
      DAPR_TRUST_ANCHORS: o.trustAnchors,
      DAPR_SENTRY_TOKEN_FILE: o.tokenFile,
      DAPR_API_TOKEN: o.apiToken,
      APP_API_TOKEN: o.appToken,
    },
    cwd: o.folder,
  };
}

function secretStore(secretsFile: string) {
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Component',
    metadata: { name: 'kubernetes' },
    spec: {
      type: 'secretstores.local.file',
      version: 'v1',
      metadata: [
        { name: 'secretsFile', value: secretsFile },
        { name: 'multiValued', value: 'true' },
      ],
    },
  };
}

/**
 * The names in a file that all sidecars share. Two of Dapr's defaults end a shop:
 * - With its write-ahead log, a sidecar that opens the file while another turns the log on is refused at once
 *   ("database is locked"), carries on without a name, and nobody finds it. Without it, it waits for its turn.
 * - Its clean-up, once an hour, deletes the names that are fresh, not the old ones, and each sidecar ends
 *   ("Host registration lost").
 * A name is renewed every `updateInterval` less `timeout`, here 2 s, and found for `updateInterval` after that; by
 * default only a second lies between, and a busy machine loses names.
 */
function nameResolution(appId: string, file: string) {
  const configuration = {
    connectionString: file,
    disableWAL: 'true',
    cleanupInterval: '0s',
    updateInterval: '5s',
    timeout: '3s',
    busyTimeout: '2500ms',
  };
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: appId },
    spec: { nameResolution: { component: 'sqlite', version: 'v1', configuration } },
  };
}
