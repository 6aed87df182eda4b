import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { testFolder } from './testing.ts';

/** A script as npm runs it. The run folder is none that a start could use, should it come to that. */
async function run(script: string, args: string[], runDir = '/dev/null') {
  const child = spawn(process.execPath, ['local/bootstrap.mjs', script, ...args], {
    env: { ...process.env, SIDECART_RUN_DIR: runDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await exited;
  return { code, out, err };
}

const STACK = /^\s+at /m;

test.concurrent.each([
  ['local/start.ts', ['--frsh'], "Unknown option '--frsh'\n\nnpm start [-- options]"],
  ['local/start.ts', ['extra'], "Unexpected argument 'extra'\n\nnpm start [-- options]"],
  ['local/start.ts', ['--replicas', 'orders=0'], '--replicas orders=0: write it as orders=3'],
  ['local/start.ts', ['--fresh', '--replicas', 'nosuch=2'], 'no service is called nosuch; there are '],
  ['local/doctor.ts', ['--bogus'], "Unknown option '--bogus'\n\nnpm run doctor"],
  ['generator/generate.ts', ['--bogus'], "Unknown option '--bogus'\n\nnpm run generate"],
  ['generator/migrations.ts', ['--bogus'], "Unknown option '--bogus'\n\nnpm run db:generate"],
])('%s %j is told what is wrong, and the usage', async (script, args, said) => {
  const { code, out, err } = await run(script, args);
  expect(err).toContain(said);
  expect(err).not.toMatch(STACK);
  expect({ code, out }).toEqual({ code: 2, out: '' });
});

test.concurrent.each([
  'local/start.ts',
  'local/doctor.ts',
  'generator/generate.ts',
  'generator/migrations.ts',
])('%s --help says how it is used and does nothing', async (script) => {
  const { code, out, err } = await run(script, ['--help']);
  expect(out).toMatch(/^npm (start|run [a-z:]+)/);
  expect({ code, err }).toEqual({ code: 0, err: '' });
});

test('a start in a file is told with the cure', async () => {
  const file = join(testFolder(), 'file');
  writeFileSync(file, '');
  const { code, err } = await run('local/start.ts', [], file);
  expect(err).toContain(`${file} cannot be the run folder: it is a file\nCure: set SIDECART_RUN_DIR`);
  expect(err).not.toMatch(STACK);
  expect(code).toBe(1);
});
