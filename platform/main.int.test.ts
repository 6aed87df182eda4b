import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import postgres from 'postgres';
import { describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../local/ports.ts';
import { testFolder } from '../local/testing.ts';
import { consumer, names, startNats, streams } from './fixture-nats.ts';
import { brokerState, findConsumer, withBroker } from './streams.ts';

/** Starts the program as a container does: with this environment and no other. */
function start(command: string, env: Record<string, string>) {
  const child = execa(process.execPath, [join(import.meta.dirname, 'main.ts'), ...command.split(' ')], {
    env,
    extendEnv: false,
    reject: false,
    all: true,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  return child;
}

const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const run = async (command: string, env: Record<string, string>) => {
  const { exitCode, all } = await start(command, env);
  return { exitCode, log: lines(all) };
};

test('an unknown command fails with those there are', async () => {
  const { exitCode, log } = await run('database', {});
  expect(exitCode).toBe(1);
  expect(log).toEqual([
    expect.objectContaining({ level: 'fatal', cure: expect.stringContaining('streams') }),
  ]);
});

test.each(['databases', 'streams'])('%s without an environment fails with what to set', async (command) => {
  const { exitCode, log } = await run(command, {});
  expect(exitCode).toBe(1);
  expect(log).toMatchObject([{ level: 'fatal', service: 'platform', err: { type: 'ConfigError' } }]);
  expect(JSON.stringify(log)).toMatch(/(ADMIN|BROKER)_URL is missing; set it to the URL of/);
});

describe('databases', () => {
  const name = `platform-${randomBytes(3).toString('hex')}`;
  const password = () => randomBytes(4).toString('hex');
  const urlFor = (user: string, secret: string) => {
    const url = new URL(inject('pgUrl'));
    return Object.assign(url, { username: user, password: encodeURIComponent(secret), pathname: `/${name}` })
      .href;
  };

  /** Writes the Secrets as a pod has them mounted. */
  function secrets(urls: Record<string, string>) {
    const folder = testFolder();
    for (const [secret, url] of Object.entries(urls)) {
      mkdirSync(join(folder, secret));
      writeFileSync(join(folder, secret, 'url'), url);
    }
    return folder;
  }
  const bothFor = (app: string, owner: string) => ({
    [`${name}-db`]: urlFor(`${name}_app`, app),
    [`${name}-db-owner`]: urlFor(`${name}_owner`, owner),
  });

  async function ask(url: string, query: string) {
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    try {
      return await sql.unsafe(query);
    } finally {
      await sql.end();
    }
  }

  test('are made with their roles, twice without harm, and the second time sets the passwords', async () => {
    onTestFinished(async () => {
      await ask(inject('pgUrl'), `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
      for (const role of ['app', 'owner'])
        await ask(inject('pgUrl'), `DROP ROLE IF EXISTS "${name}_${role}"`);
    });
    const odd = "a/b:c@d'e%";
    for (const [app, owner] of [
      [password(), password()],
      [odd, password()],
    ] as const) {
      const urls = bothFor(app, owner);
      const folder = secrets(urls);
      const env = { ADMIN_URL: inject('pgUrl'), SECRETS_DIR: folder };
      const both = await Promise.all([run('databases', env), run('databases', env)]);
      for (const { exitCode, log } of both) {
        expect(log).toMatchObject([{ level: 'info', databases: [name] }]);
        expect(exitCode).toBe(0);
      }
      const thing = `CREATE TABLE IF NOT EXISTS thing (id int)`;
      await ask(urls[`${name}-db-owner`] ?? '', thing);
      expect(await ask(urls[`${name}-db`] ?? '', 'SELECT * FROM thing')).toEqual([]);
    }
  });

  test('wait for a server that is not up yet, for as long as they are told', async () => {
    const env = {
      ADMIN_URL: `postgres://postgres:secret@127.0.0.1:${await freePort()}/postgres`,
      SECRETS_DIR: secrets(bothFor(password(), password())),
      WAIT_SECONDS: '2',
    };
    const { exitCode, log } = await run('databases', env);
    expect(exitCode).toBe(1);
    expect(log).toMatchObject([
      { level: 'info', message: 'waiting for the database server' },
      { level: 'fatal', cure: expect.stringContaining('WAIT_SECONDS') },
    ]);
  });

  test.each([
    ['a password that is refused', { password: 'guessed' }],
    ['TLS that the server does not speak', { search: '?sslmode=require' }],
  ])('do not wait for %s', async (_, change) => {
    const admin = Object.assign(new URL(inject('pgUrl')), change);
    const folder = secrets(bothFor(password(), password()));
    const { exitCode, log } = await run('databases', { ADMIN_URL: admin.href, SECRETS_DIR: folder });
    expect(exitCode).toBe(1);
    expect(log).toMatchObject([{ level: 'fatal', cure: expect.stringContaining('ADMIN_URL') }]);
    expect(JSON.stringify(log)).not.toContain('guessed');
  });

  test.each([
    ['no Secret', {}, /there is no <service>-db in/],
    ['no owner', { 'a-db': 'postgres://a_app:p@h/a' }, /a-db-owner.url does not exist/],
    [
      'another role',
      { 'a-db': 'postgres://b_app:p@h/a', 'a-db-owner': 'postgres://a_owner:p@h/a' },
      /a-db.url is not the URL of role a_app/,
    ],
    [
      'no password',
      { 'a-db': 'postgres://a_app@h/a' },
      /a-db.url is not the URL of role a_app with a password/,
    ],
    ['no URL', { 'a-db': 'a_app' }, /is not the URL/],
    ['a password that is not escaped', { 'a-db': 'postgres://a_app:50%@h/a' }, /is not the URL/],
  ])('fail with the cure: %s', async (_, urls, message) => {
    const env = { ADMIN_URL: inject('pgUrl'), SECRETS_DIR: secrets(urls) };
    const { exitCode, log } = await run('databases', env);
    expect(exitCode).toBe(1);
    expect(log).toMatchObject([
      { err: { message: expect.stringMatching(message) }, cure: expect.stringContaining('Secret') },
    ]);
  });
});

describe('streams', () => {
  function wantedFile() {
    const file = join(testFolder(), 'streams.yaml');
    writeFileSync(file, stringify({ streams, consumers: [consumer] }));
    return file;
  }
  const status = async (port: number, path: string) =>
    (await fetch(`http://127.0.0.1:${port}${path}`)).status;

  async function keep(url: string) {
    const port = await freePort();
    const env = { BROKER_URL: url, STREAMS_FILE: wantedFile(), PORT: String(port), LOOK_SECONDS: '0.2' };
    return { child: start('streams', env), port };
  }
  const soon = <T>(look: () => Promise<T>) => vi.waitFor(look, { timeout: 15_000, interval: 100 });
  const streamsOf = async (url: string) => [...(await brokerState(url, names, [])).streams].sort();

  test('are made, kept, and made again on a broker that came back empty', async () => {
    const { nats, url, empty } = await startNats({ bare: true });
    const { child, port } = await keep(url);
    await soon(async () => expect(await status(port, '/readyz')).toBe(200));
    expect(await streamsOf(url)).toEqual([...names].sort());
    await nats.hold();
    const health = async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).json();
    await soon(async () => expect(await health()).toMatchObject({ status: 'degraded', ready: true }));
    empty();
    await nats.release();
    // Only then the look is over that has made them, and has said so.
    await soon(async () => expect(await health()).toMatchObject({ status: 'ok', ready: true }));
    expect(await streamsOf(url)).toEqual([...names].sort());
    child.kill('SIGTERM');
    const { exitCode, all } = await child;
    expect(exitCode).toBe(0);
    const messages = lines(all).map(({ message }) => message);
    expect(messages.filter((message) => message === 'streams were missing and were made')).toHaveLength(2);
    expect(messages).toContain('the broker is back');
    expect(all).not.toContain('secret');
  });

  test('a consumer is brought to its wanted settings while the program runs', async () => {
    const { url } = await startNats({ bare: true });
    const { port } = await keep(url);
    await soon(async () => expect(await status(port, '/readyz')).toBe(200));
    await withBroker(url, (jsm) => jsm.consumers.update(consumer.stream, consumer.name, { ack_wait: 30e9 }));
    await soon(async () =>
      expect(await withBroker(url, async (jsm) => (await findConsumer(jsm, consumer))?.config)).toMatchObject(
        consumer.settings,
      ),
    );
  });

  test('are waited for: alive but not ready while there is no broker', async () => {
    const { child, port } = await keep(`nats://sidecart:secret@127.0.0.1:${await freePort()}`);
    await soon(async () => expect(await status(port, '/livez')).toBe(200));
    expect(await status(port, '/readyz')).toBe(503);
    const asked = performance.now();
    child.kill('SIGTERM');
    expect((await child).exitCode).toBe(0);
    expect(performance.now() - asked).toBeLessThan(1_000);
  });
});
