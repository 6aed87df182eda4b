import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { killed, sidecarFlags } from '../tests/brokers/sidecar-rig.ts';
import { until } from '../tests/waiting.ts';
import { baseEnv } from './launch.ts';
import { ensurePrograms } from './programs/programs.ts';
import { writeSidecarFiles } from './sidecar.ts';
import { testFolder } from './testing.ts';

let daprd: string;
beforeAll(async () => {
  daprd = (await ensurePrograms({ env: process.env, only: ['daprd'], progress: () => {} })).daprd.path;
});

interface Sidecar {
  log(): string;
  ended(): boolean;
}

/** A real sidecar of nobody, with the local mode's files. @param change is for controls */
async function startSidecar(folder: string, change = (config: string) => config): Promise<Sidecar> {
  const files = { resourcesDir: join(folder, 'resources'), configFile: join(folder, 'config.yaml') };
  mkdirSync(files.resourcesDir);
  const secretsFile = join(folder, 'secrets.json');
  writeSidecarFiles({
    appId: 'someone',
    secrets: {},
    secretsFile,
    nameResolutionFile: namesFile(folder),
    files,
  });
  writeFileSync(files.configFile, change(readFileSync(files.configFile, 'utf8')));
  const { flags } = await sidecarFlags('someone');
  Object.assign(flags, { config: files.configFile, 'resources-path': files.resourcesDir });
  const logFile = join(folder, 'daprd.log');
  const out = openSync(logFile, 'a');
  const child = spawn(
    daprd,
    Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
    { env: baseEnv(), stdio: ['ignore', out, out] },
  );
  onTestFinished(() => killed(child));
  return { log: () => readFileSync(logFile, 'utf8'), ended: () => child.exitCode !== null };
}

const namesFile = (folder: string) => join(folder, 'hosts.db');

function isNamed(folder: string): boolean {
  const db = new DatabaseSync(namesFile(folder), { readOnly: true });
  try {
    return db.prepare("select 1 from hosts where app_id = 'someone'").get() !== undefined;
  } finally {
    db.close();
  }
}

/** The names as a starting sidecar may find them: locked by another that is at work on them. */
async function startWhileLocked(change?: (config: string) => string) {
  const folder = testFolder();
  const other = new DatabaseSync(namesFile(folder));
  other.exec('begin immediate');
  const sidecar = await startSidecar(folder, change);
  await until('the sidecar to open the names', () => sidecar.log().includes('Configuring SQLite'));
  await sleep(500);
  other.exec('commit');
  other.close();
  return { folder, sidecar };
}

test('a sidecar that finds the names locked waits for them', async () => {
  const { folder, sidecar } = await startWhileLocked();
  await until('its name', () => isNamed(folder));
  expect(sidecar.log()).not.toContain('database is locked');
});

test('control: with the write-ahead log it carries on without a name', async () => {
  const { sidecar } = await startWhileLocked((config) => config.replace('disableWAL: "true"', ''));
  await until('the sidecar to be at work', () => sidecar.log().includes('dapr initialized'));
  expect(sidecar.log()).toContain('database is locked');
});

test('a sidecar never cleans the names up', async () => {
  const folder = testFolder();
  const sidecar = await startSidecar(folder);
  await until('its name', () => isNamed(folder));
  await until('the sidecar to be at work', () => sidecar.log().includes('dapr initialized'));
  expect(sidecar.log()).not.toContain('Schedule expired data clean up');
});

test('control: where it does, the names that are fresh go, and the sidecar with them', async () => {
  const sidecar = await startSidecar(testFolder(), (config) =>
    config.replace('cleanupInterval: 0s', 'cleanupInterval: 1s'),
  );
  await until('the sidecar to end', () => sidecar.ended());
  expect(sidecar.log()).toContain('Host registration lost');
});
