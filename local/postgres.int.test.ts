import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureDatabases } from '../platform/databases.ts';
import { serviceUrls } from './databases.ts';
import { isSameProcess, processIdentity } from './identity.ts';
import { freePort } from './ports.ts';
import { probePostgres, startPostgres } from './postgres.ts';
import { removePostgresData } from './postgres-place.ts';
import { ensureSecrets } from './secrets.ts';

const HOME = '/var/lib/sidecart';

let folder: string;
let server: Awaited<ReturnType<typeof startPostgres>>;
const dataDir = () => join(folder, 'postgres');

async function start() {
  return startPostgres({
    dataDir: dataDir(),
    port: await freePort(),
    superuserPassword: 'a password',
    logFile: join(folder, 'postgres.log'),
  });
}

async function startInTheEnd(): ReturnType<typeof start> {
  try {
    return await start();
  } catch {
    await sleep(100);
    return startInTheEnd();
  }
}

async function ask<T>(url: string, query: string): Promise<T[]> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => {} });
  try {
    return (await sql.unsafe(query)) as unknown as T[];
  } finally {
    await sql.end();
  }
}

beforeAll(async () => {
  // As mkdtemp makes it, closed to everybody else: as root the server could not even enter it.
  folder = mkdtempSync(join(tmpdir(), 'sidecart-pg-'));
  server = await start();
});
afterAll(async () => {
  await server.stop();
  removePostgresData(dataDir());
  rmSync(folder, { recursive: true });
});

describe('the server', () => {
  test('is PostgreSQL 18, durable, and runs without root’s rights', async () => {
    const [row] = await ask<{ version: string; fsync: string; commit: string }>(
      server.url,
      `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit`,
    );
    expect(row).toMatchObject({ version: expect.stringMatching(/^18\./), fsync: 'on', commit: 'on' });
    if (process.platform === 'linux') expect(statSync(`/proc/${server.pid}`).uid).not.toBe(0);
  });

  test('refuses a wrong password', async () => {
    const url = server.url.replace('a%20password', 'b');
    await expect(ask(url, 'SELECT 1')).rejects.toThrow(/password/);
    await expect(probePostgres(url)).rejects.toMatchObject({
      message: 'the database was made with another password than the one in the secrets of this run folder',
      cure: expect.stringContaining('--fresh'),
    });
  });

  test('keeps what was committed through a SIGKILL, and stops within its grace', async () => {
    await ask(server.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const identity = processIdentity(server.pid) ?? '';
    process.kill(server.pid, 'SIGKILL');
    await expect.poll(() => isSameProcess(server.pid, identity)).toBe(false);
    // Its children end by themselves once they notice; a start before that is refused.
    server = await startInTheEnd();
    expect(await ask(server.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });
});

describe('a service', () => {
  test('can connect to its own database only, with either role, and only its owner changes tables', async () => {
    const secrets = ensureSecrets(join(folder, 'secrets'), [
      { name: 'orders', database: true },
      { name: 'products', database: true },
    ]);
    await ensureDatabases(server.url, secrets.databases);
    await ensureDatabases(server.url, secrets.databases);
    const orders = serviceUrls(server.url, 'orders', secrets);
    await ask(orders.owner, 'CREATE TABLE thing (id int)');
    await ask(orders.app, 'INSERT INTO thing VALUES (1)');
    await expect(ask(orders.app, 'CREATE TABLE other (id int)')).rejects.toThrow(/permission denied/);
    for (const url of [orders.app, orders.owner])
      for (const database of ['products', 'postgres', 'template1'])
        await expect(ask(url.replace(/orders$/, database), 'SELECT 1')).rejects.toThrow(
          /permission denied for database/,
        );
  });
});

describe.runIf(process.getuid?.() === 0)('as root', () => {
  /** The place of a data folder that root's server uses, found by the mark in it. */
  const placeOf = (dataDir: string) =>
    readdirSync(HOME)
      .map((name) => join(HOME, name, 'origin.json'))
      .find((file) => existsSync(file) && readFileSync(file, 'utf8').includes(JSON.stringify(dataDir)));

  test('data of a folder that is gone is removed, data in use or of a living folder is not', async () => {
    const other = mkdtempSync(join(tmpdir(), 'sidecart-pg-gone-'));
    const gone = await startPostgres({
      dataDir: other,
      port: await freePort(),
      superuserPassword: 'x',
      logFile: join(folder, 'other.log'),
    });
    const restart = async () => {
      await server.stop();
      server = await start();
    };
    expect(placeOf(other)).toBeDefined();
    rmSync(other, { recursive: true });
    await restart();
    expect(placeOf(other)).toBeDefined();
    await gone.stop();
    await restart();
    expect(placeOf(other)).toBeUndefined();
    expect(await ask(server.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });
});
