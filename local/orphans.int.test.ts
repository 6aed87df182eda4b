import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { isSameProcess, processIdentity } from './identity.ts';
import { type LedgerEntry, readLedger } from './ledger.ts';
import { endOrphans } from './orphans.ts';
import { killShop } from './shop.ts';
import { eventually, testFolder } from './testing.ts';

/** A runner that starts three things and is then killed without a chance to stop them. */
async function killedRunner(folder: string): Promise<{ ledgerFile: string; orphans: LedgerEntry[] }> {
  const ledgerFile = join(folder, 'ledger.json');
  const trace = join(folder, 'trace');
  writeFileSync(trace, '');
  const runner = spawn(
    process.execPath,
    ['--input-type=module-typescript', '-e', RUNNER, import.meta.dirname, ledgerFile, trace, folder],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(runner.stdout, 'data');
  runner.kill('SIGKILL');
  await once(runner, 'exit');
  return { ledgerFile, orphans: readLedger(ledgerFile) };
}

const RUNNER = `
const [, here, ledgerFile, trace, folder] = process.argv;
const { supervise } = await import(here + '/supervisor.ts');
const { openLedger } = await import(here + '/ledger.ts');
const ledger = openLedger(ledgerFile);
const thing = (name, rank) => supervise({
  name, rank, logFile: folder + '/' + name + '.log', stopSignal: 'SIGTERM', graceMs: 3000,
  command: () => ({
    file: process.execPath, env: {}, cwd: folder,
    args: ['-e', "process.on('SIGTERM', () => { setTimeout(() => { require('fs').appendFileSync(process.argv[1], process.argv[2]); process.exit() }, 100) }); require('fs').writeFileSync(process.argv[2] + '.up', ''); setInterval(() => {}, 1000)", trace, name],
  }),
  probe: async () => { require('node:fs').accessSync(folder + '/' + name + '.up'); },
}, { ledger, say: () => {} });
import { createRequire } from 'node:module';
const require = createRequire(here + '/');
await Promise.all([thing('c', 3), thing('a', 1), thing('b', 2)].map((one) => one.start()));
console.log('up');
setInterval(() => {}, 1000);
`;

test('what a killed runner left behind is ended, rank by rank, and nothing else', async () => {
  const folder = testFolder();
  const { ledgerFile, orphans } = await killedRunner(folder);
  expect(orphans.map(({ name }) => name).sort()).toEqual(['a', 'b', 'c']);
  expect(orphans.every(({ pid, identity }) => isSameProcess(pid, identity))).toBe(true);

  const bystander = spawn('sleep', ['60']);
  onTestFinished(() => void bystander.kill());
  const recycled = {
    ...orphans[0],
    name: 'recycled',
    pid: bystander.pid,
    identity: 'its number had another process then',
  };
  writeFileSync(ledgerFile, JSON.stringify([recycled, ...orphans]));

  const said: string[] = [];
  await endOrphans(ledgerFile, (text) => said.push(text));
  expect(readFileSync(join(folder, 'trace'), 'utf8')).toBe('abc');
  await eventually(() => orphans.every(({ pid, identity }) => !isSameProcess(pid, identity)));
  expect(processIdentity(bystander.pid ?? 0)).toBeDefined();
  expect(said[0]).toBe('an earlier runner was killed and left 3 processes behind: ending them');
  expect(said.slice(1).map((line) => line.replace(/\d+/, 'N'))).toEqual([
    'stopped a (N)',
    'stopped b (N)',
    'stopped c (N)',
  ]);
}, 30_000);

test('without orphans nothing is said', async () => {
  const said: string[] = [];
  await endOrphans(join(testFolder(), 'none.json'), (text) => said.push(text));
  expect(said).toEqual([]);
});

test('who does not want to wait has everything taken away at once', async () => {
  const folder = testFolder();
  const { orphans } = await killedRunner(folder);
  killShop(folder);
  await eventually(() => orphans.every(({ pid, identity }) => !isSameProcess(pid, identity)), 2_000);
  expect(readFileSync(join(folder, 'trace'), 'utf8')).toBe('');
}, 30_000);
