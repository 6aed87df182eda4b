import { spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { postgresPlace } from './postgres-place.ts';
import { openRunFolder, removeRunFolder } from './run-folder.ts';
import { runPaths } from './run-paths.ts';
import { testFolder } from './testing.ts';

const open = (runDir: string) => openRunFolder({ runDir, fresh: false, say: () => {} });
const refusal = { name: 'ShopError', message: expect.stringContaining('cannot be the run folder') };

test('a run folder is made with the folders above it, for its owner only', async () => {
  const runDir = join(testFolder(), 'a', 'b');
  (await open(runDir)).close();
  expect(statSync(runDir).mode & 0o777).toBe(0o700);
  (await open(runDir)).close();
});

test('a file, or a place below one, is refused with the cure', async () => {
  const file = join(testFolder(), 'file');
  writeFileSync(file, '');
  await expect(open(file)).rejects.toMatchObject({
    message: `${file} cannot be the run folder: it is a file`,
    cure: expect.stringContaining('SIDECART_RUN_DIR'),
  });
  await expect(open(join(file, 'below'))).rejects.toMatchObject(refusal);
});

// In a process of its own, which can be ended when it hangs.
test.runIf(process.platform === 'linux').each(['/proc', '/proc/x/y'])(
  '%s, where not even root can make a folder, is refused at once',
  (runDir) => {
    const source = `
      const { openRunFolder } = await import(process.argv[1] + '/run-folder.ts');
      await openRunFolder({ runDir: process.argv[2], fresh: false, say() {} }).catch((err) => console.log(err.name, err.message));`;
    const { stdout } = spawnSync(
      process.execPath,
      ['--input-type=module-typescript', '-e', source, import.meta.dirname, runDir],
      { encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' },
    );
    expect(stdout).toContain(`ShopError ${runDir} cannot be the run folder`);
  },
);

test('a removed run folder leaves no data anywhere', async () => {
  const runDir = join(testFolder(), 'run');
  (await open(runDir)).close();
  const { folder } = postgresPlace(runPaths(runDir).postgres);
  expect(existsSync(folder)).toBe(true);
  removeRunFolder(runDir);
  expect([folder, runDir].filter(existsSync)).toEqual([]);
});
