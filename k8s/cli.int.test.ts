import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { testFolder } from '../local/testing.ts';
import type { Secrets } from './secrets.ts';

/** `npm run k8s -- ...`, with only what is in `path` and Node's own folder to be found. */
function cli(args: string[], path = '/usr/bin:/bin') {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['local/bootstrap.mjs', 'k8s/cli.ts', ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, PATH: path },
    },
  );
  return { status, stdout, stderr };
}

const NATS = { nats: { password: 'pw', 'auth.conf': 'x' } };

/** A kubectl that is asked what a real one is, and keeps what it is given to create. */
function fakeKubectl(
  context: string,
  secrets: Secrets = NATS,
  deployments: object[] = [],
): { folder: string; created: () => string } {
  const folder = testFolder();
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const secretItems = JSON.stringify(
    Object.entries(secrets).map(([name, values]) => ({
      metadata: { name },
      data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, base64(value)])),
    })),
  );
  const view = {
    'current-context': context,
    contexts: [{ name: context, context: { cluster: 'some' } }],
    clusters: [{ name: 'some', cluster: { server: 'https://127.0.0.1:6443' } }],
  };
  writeFileSync(
    join(folder, 'kubectl'),
    `#!/bin/sh
case "$*" in
  *"config view"*) echo '${JSON.stringify(view)}' ;;
  *"get namespace"*) echo namespace/shop ;;
  *"get deployments"*) echo '{"items":${JSON.stringify(deployments)}}' ;;
  *"get secrets"*) echo '{"items":${secretItems}}' ;;
  *create*) cat > '${folder}/created' ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
`,
  );
  chmodSync(join(folder, 'kubectl'), 0o755);
  return { folder, created: () => readFileSync(join(folder, 'created'), 'utf8') };
}

test('Secrets go to kubectl by its standard input, and none is printed', () => {
  const { folder, created } = fakeKubectl('kind-some');
  const { status, stdout, stderr } = cli(['secrets'], `${folder}:/usr/bin:/bin`);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const items = (JSON.parse(created()) as { items: { stringData: Record<string, string> }[] }).items;
  const values = items.flatMap(({ stringData }) => Object.values(stringData));
  expect(values).toContain('nats://sidecart:pw@nats:4222');
  for (const value of values) expect(stdout).not.toContain(value);
  expect(stdout).toContain('made orders-db-owner\n');
  expect(stdout).toContain('made payments-provider, with values for the simulator\n');
  expect(stdout).not.toContain('made-up');
  expect(stdout).not.toContain('made nats\n');
});

test('where the shop runs, a login that is made anew comes with what is still to be done', () => {
  const spec = { template: { spec: { initContainers: [{ name: 'databases' }] } } };
  const deployments = ['platform', 'orders'].map((name) => ({ metadata: { name }, spec }));
  const { folder } = fakeKubectl('kind-some', NATS, deployments);
  const { status, stdout } = cli(['secrets'], `${folder}:/usr/bin:/bin`);
  expect(status).toBe(0);
  expect(stdout).toContain(
    '  kubectl --context=kind-some --namespace=shop rollout restart deployment/platform\n',
  );
  expect(stdout).toContain(
    '  kubectl --context=kind-some --namespace=shop rollout restart deployment/orders\n',
  );
});

test('where the shop runs, a key that is made anew comes with who has to read it', () => {
  const deployments = ['payments', 'provider'].map((name) => ({
    metadata: { name },
    spec: { template: { spec: {} } },
  }));
  const { folder } = fakeKubectl('kind-some', NATS, deployments);
  const { stdout } = cli(['secrets'], `${folder}:/usr/bin:/bin`);
  expect(stdout).toContain(
    '  kubectl --context=kind-some --namespace=shop rollout restart deployment/provider deployment/payments\n',
  );
});

test('with a broker of somebody else’s, the made-up key of the provider is told as such', () => {
  const { folder } = fakeKubectl('kind-some', {});
  const { stdout } = cli(
    ['secrets', '--broker', 'tls://shop:hushed@nats.example.com'],
    `${folder}:/usr/bin:/bin`,
  );
  expect(stdout).toContain('payments-provider has made-up values, which no provider but the simulator knows');
});

test('a cluster that is not local by its name is left alone until it is named', () => {
  const { folder, created } = fakeKubectl('some');
  const path = `${folder}:/usr/bin:/bin`;
  const refused = cli(['secrets'], path);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('and the like)\nCure: add --context some');
  expect(existsSync(join(folder, 'created'))).toBe(false);
  expect(cli(['secrets', '--context', 'some'], path).status).toBe(0);
  expect(created()).toContain('orders-db');
});

test('an option that an existing Secret contradicts is an error, and nothing is made', () => {
  const { folder } = fakeKubectl('kind-some', { ...NATS, broker: { url: 'nats://sidecart:pw@nats:4222' } });
  const { status, stdout, stderr } = cli(
    ['secrets', '--broker', 'tls://shop:hushed@nats.example.com'],
    `${folder}:/usr/bin:/bin`,
  );
  expect(status).toBe(1);
  expect(stderr).toContain('broker: nats:4222, while --broker says nats.example.com:4222');
  expect(stderr).toContain('kubectl --context=kind-some --namespace=shop delete secret broker\n');
  expect(`${stdout}${stderr}`).not.toContain('hushed');
  expect(existsSync(join(folder, 'created'))).toBe(false);
});

test.each([
  [['--broker', 'http://x'], 'the URL of the broker is none such as tls://'],
  [['--broker', '@nosuch.txt'], 'there is no file nosuch.txt\nCure: name a file that is there'],
  [['--ca', '/'], '/ cannot be read (EISDIR)\nCure: name a file that is there and can be read'],
  [['--ca', 'package.json'], 'what --ca names has no certificate in it'],
  [['--database', 'postgres://x'], '--database is not the URL of a PostgreSQL'],
])('secrets %j is refused before any cluster is asked', (options, said) => {
  const { status, stdout, stderr } = cli(['secrets', ...options], testFolder());
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain(said);
  expect(stderr).toContain('\nCure: ');
});

test('an authority is made once, renewed from its root, and readable by its owner only', () => {
  const folder = join(testFolder(), 'ca');
  const values = join(folder, 'values.yaml');
  const tls = () => parse(readFileSync(values, 'utf8')).dapr_sentry.tls;
  expect(cli(['ca', '--out', folder])).toMatchObject({ status: 0, stderr: '' });
  for (const name of ['values.yaml', 'root.key', 'root.crt'])
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  const first = tls();
  expect(cli(['ca', '--out', folder])).toMatchObject({ status: 1 });
  expect(tls()).toEqual(first);
  expect(cli(['ca', '--out', folder, '--renew'])).toMatchObject({ status: 0 });
  expect(tls().root).toEqual(first.root);
  expect(tls().issuer.keyPEM).not.toBe(first.issuer.keyPEM);

  const issuer = join(folder, 'issuer.crt');
  writeFileSync(issuer, tls().issuer.certPEM);
  const verified = spawnSync('openssl', ['verify', '-CAfile', join(folder, 'root.crt'), issuer], {
    encoding: 'utf8',
  });
  expect(verified.stdout).toContain('OK');
});

test.each([
  [[], 2, 'Name a command'],
  [['sekrets'], 2, "Unknown command 'sekrets'"],
  [['secrets', '--bogus'], 2, "Unknown option '--bogus'"],
  [['ca', '--days', '0'], 2, '--days 0: write a number'],
  [['ca', '--renew', '--out', '/nowhere'], 1, 'there is no root.key'],
])('%j is told what is wrong', (args, code, said) => {
  const { status, stderr } = cli(args);
  expect({ status, said: stderr.includes(said), stack: /^\s+at /m.test(stderr) }).toEqual({
    status: code,
    said: true,
    stack: false,
  });
});

test.each([
  ['kubectl', ['secrets']],
  ['openssl', ['ca', '--out', '/nowhere/else']],
])('without %s the cure is to install it', (program, args) => {
  const empty = testFolder();
  const { status, stderr } = cli(
    args.map((arg) => arg.replace('/nowhere', empty)),
    empty,
  );
  expect(status).toBe(1);
  expect(stderr).toContain(`there is no ${program} on the PATH\nCure: install ${program}`);
});
