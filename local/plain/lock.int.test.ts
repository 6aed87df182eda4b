import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { withLock } from './lock.mjs';

let folder: string;
beforeEach(async () => {
  const parent = await mkdtemp(join(tmpdir(), 'sidecart-lock-'));
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  folder = join(parent, 'lock');
});

/** Takes the lock in another process and ends without giving it back. */
async function diesHolding(): Promise<void> {
  const script = `
    const { withLock } = await import('./local/plain/lock.mjs');
    await withLock(process.argv[1], async () => process.kill(process.pid, 'SIGKILL'));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script, folder], {
    stdio: 'inherit',
  });
  await new Promise((gone) => child.once('exit', gone));
}

test('one at a time, and nothing is left behind', async () => {
  let inside = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++inside);
    await sleep(2);
    inside--;
  };
  await Promise.all(
    Array.from({ length: 20 }, () => withLock(folder, work, { pollMs: 1, staleAfterPolls: 1e9 })),
  );
  expect(most).toBe(1);
  expect(await readdir(join(folder, '..'))).toEqual([]);
});

test('gives what the work gives, and is free again after work that failed', async () => {
  expect(await withLock(folder, async () => 7)).toBe(7);
  await expect(withLock(folder, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(existsSync(folder)).toBe(false);
});

test('says once that it waits', async () => {
  const waits: string[] = [];
  await Promise.all(
    ['a', 'b'].map((name) =>
      withLock(folder, () => sleep(50), { pollMs: 5, onWait: () => waits.push(name) }),
    ),
  );
  expect(waits).toHaveLength(1);
});

test('a holder that is gone is succeeded at once, by one only', { timeout: 5000 }, async () => {
  await diesHolding();
  expect(existsSync(folder)).toBe(true);
  let inside = 0;
  const work = async () => {
    expect(++inside).toBe(1);
    await sleep(20);
    inside--;
  };
  await Promise.all(
    Array.from({ length: 5 }, () => withLock(folder, work, { pollMs: 5, staleAfterPolls: 1e9 })),
  );
});

test('a holder that stopped touching its token is succeeded, although its number is alive', async () => {
  await mkdir(folder);
  await writeFile(join(folder, `${process.pid}-frozen@${hostname()}`), '');
  expect(await withLock(folder, async () => 'ours', { pollMs: 2, staleAfterPolls: 5 })).toBe('ours');
});

test('a holder that works for long keeps the lock', async () => {
  let working = true;
  const first = withLock(folder, async () => {
    await sleep(3000);
    working = false;
  });
  await sleep(50);
  // Ten polls of 150 ms see no change only if the token is never touched; it is, once a second.
  await withLock(folder, async () => expect(working).toBe(false), { pollMs: 150, staleAfterPolls: 10 });
  await first;
});
