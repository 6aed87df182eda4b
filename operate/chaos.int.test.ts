import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { execa } from 'execa';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { processIdentity } from '../local/identity.ts';
import { openLedger } from '../local/ledger.ts';
import { writePrivateJson } from '../local/private-file.ts';
import { runPaths } from '../local/run-paths.ts';
import { testFolder } from '../local/testing.ts';
import { backAgain, kill, running } from './chaos/kills.ts';

// The command where there is nothing to kill, and the killing itself with a process of the test's own.

let runDir: string;
beforeEach(() => {
  runDir = testFolder();
});

async function chaos(args: string[], env: NodeJS.ProcessEnv = {}) {
  const { exitCode, stdout, stderr } = await execa(
    process.execPath,
    ['local/bootstrap.mjs', 'operate/chaos.ts', ...args],
    { env: { SIDECART_RUN_DIR: runDir, ...env }, reject: false },
  );
  return { code: exitCode, out: stdout, err: stderr };
}

/** As a shop would write it whose runner has this number. */
function writeShop(runner: number, processes: object[] = []) {
  writePrivateJson(runPaths(runDir).shop, {
    gatewayUrl: 'http://127.0.0.1:1',
    pid: runner,
    broker: 'nats',
    processes,
  });
}

test('without a shop it says so, with the cure', async () => {
  expect(await chaos([], { SEED: '' })).toEqual({
    code: 1,
    out: '',
    err: 'no shop runs here\nCure: start it with `npm start` and wait until it is ready; this kills processes of this machine, never pods of a cluster',
  });
});

test('what a killed runner left is not touched', async () => {
  const dead = spawn('true');
  await once(dead, 'exit');
  writeShop(dead.pid as number);
  const { code, err } = await chaos([]);
  expect({ code, err }).toEqual({
    code: 1,
    err: 'the runner of the shop here was killed, and nobody would start again what is killed now\nCure: start the shop anew with `npm start`',
  });
});

test('a shop elsewhere is refused', async () => {
  writeShop(process.pid);
  const { code, err } = await chaos([], { SIDECART_URL: 'http://shop.example:8080/' });
  expect(code).toBe(1);
  expect(err).toMatch(/^SIDECART_URL means the shop at http:\/\/shop\.example:8080\/.*\nCure: unset/);
});

test('it explains itself, and refuses what it does not understand before anything is done', async () => {
  const { code, out } = await chaos(['--help']);
  expect(code).toBe(0);
  expect(out).toContain('--seed N');
  for (const args of [
    ['--orders', '0'],
    ['--orders', 'many'],
    ['--seed', '-1'],
    ['--kubernetes'],
    ['orders'],
  ])
    expect(await chaos(args)).toMatchObject({ code: 2, out: '' });
  expect((await chaos([], { SEED: 'x' })).err).toContain('--seed (or SEED) wants a whole number');
});

/** A process that the shop here says it has started as `orders`. */
function startOrders(identity?: string) {
  const child = spawn('sleep', ['60'], { detached: true });
  onTestFinished(() => void child.kill('SIGKILL'));
  const pid = child.pid as number;
  const ledger = openLedger(runPaths(runDir).ledger);
  const known = { identity: identity ?? (processIdentity(pid) as string) };
  ledger.add({ name: 'orders', pid, ...known, rank: 1, stopSignal: 'SIGTERM', graceMs: 1 });
  writeShop(process.pid, [{ name: 'orders', pid, state: 'ready' }]);
  return { child, pid, exit: once(child, 'exit') };
}

const soon = () => AbortSignal.timeout(300);

test('what the shop runs is killed, and is back as soon as another process is ready in its place', async () => {
  const first = startOrders();
  expect(await kill(runDir, 'orders', soon())).toBe(first.pid);
  expect(await first.exit).toEqual([null, 'SIGKILL']);
  await expect(backAgain(runDir, 'orders', first.pid, soon())).rejects.toThrow();
  startOrders();
  await backAgain(runDir, 'orders', first.pid, soon());
});

test('control: a process that has only the number of what the shop started, or that no ledger names, is not killed', async () => {
  const { child } = startOrders('of an earlier process');
  await expect(kill(runDir, 'orders', soon())).rejects.toThrow();
  rmSync(runPaths(runDir).ledger);
  expect(running(runDir, 'orders')).toBeUndefined();
  await expect(kill(runDir, 'orders', soon())).rejects.toThrow();
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
});
