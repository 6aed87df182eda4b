import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { lockRunDir } from './runner-lock.ts';
import { testFolder } from './testing.ts';

test('a second runner is refused with the number of the first; a killed one leaves the folder free', async () => {
  const file = join(testFolder(), 'runner.lock');
  const holder = spawn(
    process.execPath,
    // Collects garbage once the lock is taken: it is held although nobody kept what came back.
    [
      '--input-type=module-typescript',
      '--expose-gc',
      '-e',
      `const { lockRunDir } = await import(process.argv[1] + '/runner-lock.ts');
       lockRunDir(process.argv[2]);
       setTimeout(() => { gc(); setTimeout(() => console.log('locked'), 50); }, 50); setInterval(() => {}, 1000);`,
      import.meta.dirname,
      file,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  expect(() => lockRunDir(file)).toThrow(`a runner is already at work here (process ${holder.pid})`);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  lockRunDir(file).release();
  lockRunDir(file).release();
});

test('a folder that cannot be written is not taken for one at work', () => {
  expect(() => lockRunDir(join(testFolder(), 'missing', 'runner.lock'))).toThrow(/missing cannot be written/);
});
