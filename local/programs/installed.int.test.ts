import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ProgramError } from './errors.ts';
import { ensureInstalled } from './installed.ts';
import { emptyMachine, fakeProgram } from './test-support.ts';

test('the path by environment comes first, then the first on PATH that fits', async () => {
  const { folder, env } = await emptyMachine();
  env.PATH += `:${join(folder, 'bin2')}`;
  const given = await fakeProgram(join(folder, 'given'), 'redisServer', '7.2.1');
  await fakeProgram(join(folder, 'bin', 'redis-server'), 'redisServer', '6.0.16');
  const path = await fakeProgram(join(folder, 'bin2', 'redis-server'), 'redisServer', '7.0.15');
  env.SIDECART_REDIS_SERVER = given;
  expect(await ensureInstalled('redisServer', env)).toEqual({ path: given, version: '7.2.1', source: 'env' });
  delete env.SIDECART_REDIS_SERVER;
  expect(await ensureInstalled('redisServer', env)).toEqual({ path, version: '7.0.15', source: 'path' });

  await rm(path);
  const err = await ensureInstalled('redisServer', env).catch((thrown) => thrown);
  expect(err).toBeInstanceOf(ProgramError);
  expect(err.message).toMatch(/redis-server >=7\.0\.0 <9 is not on PATH\n {2}- .* is version 6\.0\.16/);
  expect(err.cure).toContain('apt-get install redis-server');
  expect(err.cure).toContain('SIDECART_REDIS_SERVER');
});

test('a path by environment that does not fit is an error, and no other is taken', async () => {
  const { folder, env } = await emptyMachine();
  await fakeProgram(join(folder, 'bin', 'redis-server'), 'redisServer', '7.0.15');
  env.SIDECART_REDIS_SERVER = await fakeProgram(join(folder, 'given'), 'redisServer', '5.0.0');
  await expect(ensureInstalled('redisServer', env)).rejects.toThrow(
    'is redis-server 5.0.0; needed is >=7.0.0 <9',
  );
});
