import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { isSameProcess, processIdentity } from './identity.ts';

test('a process is the same for as long as it lives, and another one is not', async () => {
  const one = spawn('sleep', ['60']);
  const identity = processIdentity(one.pid ?? 0) ?? '';
  expect(identity).not.toBe('');
  expect(isSameProcess(one.pid ?? 0, identity)).toBe(true);
  expect(isSameProcess(process.pid, identity)).toBe(false);
  one.kill('SIGKILL');
  await once(one, 'exit');
  expect(processIdentity(one.pid ?? 0)).toBeUndefined();
});

test('a number that no process can have is nobody', () => {
  expect([0, -1, 1.5, 2 ** 30].map(processIdentity)).toEqual([undefined, undefined, undefined, undefined]);
});
