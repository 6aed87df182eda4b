import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { sidecarCommand } from '../local/sidecar.ts';

test('sidecars here have the settings of those in local mode', () => {
  const { args, env } = sidecarCommand({
    ...{ program: 'daprd', appId: 'orders', namespace: 'shop', appPort: 1, sentryPort: 1, trustAnchors: '' },
    ...{ tokenFile: '', apiToken: '', appToken: '', componentsDir: '', daprDir: '', folder: '' },
    ports: { http: 1, grpc: 1, internal: 1, metrics: 1 },
    local: { resourcesDir: '', configFile: '' },
  });
  const flags = args.map((arg) => arg.slice(2).split(/=(.*)/s));
  const { annotations } = parse(readFileSync('k8s/base/_service/deployment.yaml', 'utf8')).spec.template
    .metadata;

  // What the injector sets by itself or from the cluster, and what there is for one machine only.
  const elsewhere =
    /^(mode|app-id|app-port|config|resources-path|enable-mtls|dapr-(http|grpc|internal-grpc)-port|dapr-listen-addresses|dapr-internal-grpc-listen-address|metrics-.*|sentry-address|control-plane-.*|placement-host-address|scheduler-host-address)$/;
  const shared = flags.filter(([name = '']) => !elsewhere.test(name));
  expect(shared.length).toBeGreaterThan(8);
  for (const [name = '', value = 'true'] of shared)
    expect({ name, value: annotations[`dapr.io/${name.replace(/^dapr-/, '')}`] }).toEqual({ name, value });
  expect(annotations['dapr.io/env']).toBe(`GOMAXPROCS=${env.GOMAXPROCS}`);
});
