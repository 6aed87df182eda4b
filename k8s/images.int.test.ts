import { readFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { freePort } from '../local/ports.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { startNats } from '../platform/fixture-nats.ts';
import { skip } from '../tests/cluster/skip.ts';
import { BASES, docker, inImage, startContainer, whyNoImages } from './fixture-images.ts';

const TAG = `test-${process.pid}`;
const NAMES = ['gateway', 'orders', 'platform'] as const;
const image = (name: (typeof NAMES)[number], tag = TAG) => `sidecart/${name}:${tag}`;
const whyNot = whyNoImages();

/** `npm run images`, on the machine's network, where npm reaches its registry if anywhere. */
function build(args: string[], env: Record<string, string> = {}) {
  const options = process.env.SIDECART_IMAGE_OPTIONS?.split(/\s+/) ?? ['--network', 'host'];
  const script = ['local/bootstrap.mjs', 'k8s/images.ts', ...options, ...args];
  return execa(process.execPath, script, { cwd: CHECKOUT, env, all: true, reject: false });
}

beforeAll(async () => {
  if (whyNot !== undefined) return;
  const { exitCode, all } = await build(['--tag', TAG, ...NAMES]);
  expect(all, all).toMatch(/sidecart\/platform:\S+ +\d+ MB/);
  expect(exitCode).toBe(0);
}, 600_000);
afterAll(async () => {
  if (whyNot !== undefined) return;
  const made = [...NAMES.map((name) => image(name)), image('orders', `${TAG}-dev`)];
  await execa('docker', ['rmi', '--force', ...made], { reject: false });
}, 60_000);
beforeEach((context) => {
  if (whyNot !== undefined) skip(context, whyNot);
});

describe.each(NAMES)('the image of %s', (name) => {
  test('runs Node as process 1 and nobody in particular, and says what it is', async () => {
    const [{ Config: config }] = JSON.parse(await docker('image', 'inspect', image(name)));
    expect(config.User).toBe('10001:10001');
    expect(config.Entrypoint).toEqual([
      '/usr/local/bin/node',
      '--enable-source-maps',
      '--max-semi-space-size=8',
      '/app/main.mjs',
    ]);
    expect(config.Cmd ?? []).toEqual([]);
    expect(config.Env).toEqual(expect.arrayContaining(['NODE_ENV=production', 'HOST=0.0.0.0']));
    const { stdout: commit } = await execa('git', ['rev-parse', 'HEAD'], { cwd: CHECKOUT, reject: false });
    const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
    const label = (key: string) => config.Labels[`org.opencontainers.image.${key}`];
    expect(label('title')).toBe(`sidecart/${name}`);
    expect(label('version')).toBe(version);
    expect(label('revision')).toMatch(new RegExp(`^${commit}(-dirty)?$`));
    expect(label('created')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(label('source')).toMatch(/^(https:\/\/.*)?$/);
    expect(label('licenses')).toBe('Apache-2.0');
  });

  test('adds Node and less than 10 MB to its base', async () => {
    const size = async (of: string) => Number(await docker('image', 'inspect', '--format={{.Size}}', of));
    const node = Number(await inImage(image(name), 'stat', '--format=%s', '/usr/local/bin/node'));
    expect((await size(image(name))) - (await size(BASES[1] ?? '')) - node).toBeLessThan(10_000_000);
  });

  test('holds what it runs, not what it was made of', async () => {
    const files = (await inImage(image(name), 'find', '/app', '/usr/local', '-type', 'f')).split('\n').sort();
    const migrations = files.filter((file) => file.startsWith('/app/migrations/'));
    const assets = files.filter((file) => file.startsWith('/app/node_modules/swagger-ui-dist/'));
    expect(files.filter((file) => !migrations.includes(file) && !assets.includes(file))).toEqual([
      '/app/main.mjs',
      '/app/main.mjs.map',
      ...(name === 'orders' ? ['/app/migrate.mjs', '/app/migrate.mjs.map'] : []),
      ...(name === 'platform' ? ['/app/streams.yaml'] : []),
      '/usr/local/bin/node',
    ]);
    expect(migrations.length > 0).toBe(name === 'orders');
    expect(assets.length > 0).toBe(name === 'gateway');
    const map = JSON.parse(await inImage(image(name), 'cat', '/app/main.mjs.map'));
    expect(map.sourcesContent).toBeUndefined();
    // The modules are named in the bundle's text only as paths of this project, never by the machine that built it.
    expect(map.sourceRoot).toBe('file:///app/bundles/');
  });

  test('has one time for all that it adds, so that the same content is the same layer', async () => {
    const paths = ['/app', '/usr/local/bin', '/usr/local/bin/node'];
    const added = (await inImage(image(name), 'find', '/app')).split('\n');
    const times = await inImage(image(name), 'stat', '--format=%Y', ...paths, ...added);
    expect(new Set(times.split('\n'))).toEqual(new Set(['315532800']));
  });

  test('without an environment ends with what to set, as one line of JSON', async () => {
    const container = await startContainer({
      image: image(name),
      args: name === 'platform' ? ['streams'] : [],
    });
    expect(await container.ended()).toBe(1);
    const log = await container.log();
    expect(log).toMatchObject([{ level: 'fatal', service: name, err: { type: 'ConfigError' } }]);
    expect(JSON.stringify(log)).toMatch(
      name === 'platform' ? /BROKER_URL is missing/ : /DAPR_API_TOKEN is missing/,
    );
  });
});

test('platform databases without Secrets says how to mount them', async () => {
  const container = await startContainer({
    image: image('platform'),
    env: { ADMIN_URL: 'postgres://postgres:secret@127.0.0.1/postgres' },
    args: ['databases'],
  });
  expect(await container.ended()).toBe(1);
  expect(await container.log()).toMatchObject([
    { level: 'fatal', cure: expect.stringMatching(/^Mount the Secrets/) },
  ]);
});

describe('SIGTERM ends process 1 quickly', () => {
  const token = 'a token of 16 characters or more';
  const env = async (service: string, sidecar: number) => ({
    APP_ID: service,
    PORT: String(await freePort()),
    DAPR_HTTP_PORT: String(sidecar),
    DAPR_API_TOKEN: token,
    APP_API_TOKEN: token,
  });

  test('platform streams, at work', async () => {
    const { url } = await startNats({ bare: true });
    const port = await freePort();
    const container = await startContainer({
      image: image('platform'),
      env: { BROKER_URL: url, PORT: String(port) },
      args: ['streams'],
    });
    await container.logged({ message: 'streams are there' });
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    const { exitCode, ms } = await container.stop();
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(3_000);
  });

  test('the gateway, at work; it has the page of the API with it', async () => {
    const sidecar = http.createServer((_, response) => response.writeHead(204).end()).listen(0, '127.0.0.1');
    onTestFinished(() => void sidecar.close());
    await vi.waitUntil(() => sidecar.listening);
    const gateway = await env('gateway', (sidecar.address() as AddressInfo).port);
    const container = await startContainer({ image: image('gateway'), env: gateway });
    await container.logged({ message: 'ready' });
    for (const file of ['swagger-ui.css', 'swagger-ui-bundle.js']) {
      const answer = await fetch(`http://127.0.0.1:${gateway.PORT}/docs/${file}`);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([
        200,
        expect.stringMatching(/^text\//),
      ]);
      // One that is left half read would be waited for when the gateway stops.
      expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(10_000);
    }
    const { exitCode, ms } = await container.stop();
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(5_000);
  });

  test('orders, while it waits for its sidecar', async () => {
    const container = await startContainer({
      image: image('orders'),
      env: await env('orders', await freePort()),
    });
    await vi.waitFor(
      async () => expect(await docker('top', container.id)).toContain('/app/main.mjs'),
      10_000,
    );
    await new Promise((done) => setTimeout(done, 2_000));
    const { exitCode, ms } = await container.stop();
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(3_000);
  });

  test('the migrations, although they did not end: code 143', async () => {
    const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
    onTestFinished(() => void silent.close());
    await vi.waitUntil(() => silent.listening);
    const connected = new Promise((done) => silent.once('connection', done));
    const { port } = silent.address() as AddressInfo;
    const container = await startContainer({
      image: image('orders'),
      env: { DATABASE_URL: `postgres://a:b@127.0.0.1:${port}/c`, MIGRATIONS_DIR: '/app/migrations' },
      options: ['--entrypoint=node'],
      args: ['/app/migrate.mjs'],
    });
    await connected;
    const { exitCode, ms } = await container.stop();
    expect(exitCode).toBe(143);
    expect(ms).toBeLessThan(3_000);
  });
});

test('the image for live updates runs an edited source anew, under the paths of the other image', async () => {
  const { exitCode, all } = await build(['--target', 'dev', '--tag', `${TAG}-dev`, 'orders']);
  expect(exitCode, all).toBe(0);
  const container = await startContainer({ image: image('orders', `${TAG}-dev`), writable: true });
  await container.logged({ level: 'fatal', service: 'orders' });
  expect(await container.log()).toHaveLength(1);
  const edit = "sed -i \"s/service = 'orders'/service = 'edited'/\" services/orders/src/main.ts";
  await docker('exec', container.id, 'sh', '-c', edit);
  await container.logged({ level: 'fatal', service: 'edited' });
  expect(await docker('exec', container.id, 'id', '-u')).toBe('10001');
  expect(
    await docker('exec', container.id, 'ls', '/app/migrations/meta/_journal.json', '/app/migrate.mjs'),
  ).not.toBe('');
}, 300_000);

describe('npm run images says what to do', () => {
  test('about a service that there is not', async () => {
    const { exitCode, all } = await build(['nosuch']);
    expect(exitCode).toBe(2);
    expect(all).toMatch(/^there is no service nosuch; there are gateway, .*, platform\n/);
  });

  test('about an engine that does not run', async () => {
    const { exitCode, all } = await build(['orders'], { DOCKER_HOST: 'tcp://127.0.0.1:1' });
    expect(exitCode).toBe(1);
    expect(all).toMatch(/docker cannot be used: .*\nCure: start Docker/s);
  });

  test('about a build that fails, with its last lines', async () => {
    const { exitCode, all } = await build(['--tag', `${TAG}-none`, 'orders'], {
      RUNTIME_IMAGE: 'no/such:image',
    });
    expect(exitCode).toBe(1);
    expect(all).toMatch(/docker build of sidecart\/orders:\S+ failed .*\nCure: see .*image-orders.log/s);
  }, 120_000);

  test('and so does the Dockerfile by itself', async () => {
    const { exitCode, all } = await execa(
      'docker',
      ['build', '--force-rm', '--network=host', '--build-arg=SERVICE=nosuch', '.'],
      {
        cwd: CHECKOUT,
        all: true,
        reject: false,
      },
    );
    expect(exitCode).not.toBe(0);
    expect(all).toContain("There is no service 'nosuch': --build-arg SERVICE=orders");
  }, 120_000);
});
