import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TEST_TOKEN } from '@sidecart/kit/testing';
import { execa } from 'execa';
import { testFolder } from '../local/testing.ts';

/** A command of operators' in front of a shop of these services, by their names and URLs, that all take the tests' app token; by ana, unless `--as` is given. */
export function operatorsCommand(file: string, services: readonly { name: string; url: string }[]) {
  const processes = services.map(({ name, url }) => ({ name, url, state: 'ready' }));
  const folder = testFolder();
  mkdirSync(join(folder, 'secrets'));
  writeFileSync(join(folder, 'shop.json'), JSON.stringify({ processes }));
  const apps = Object.fromEntries(processes.map(({ name }) => [name, { appToken: TEST_TOKEN }]));
  writeFileSync(join(folder, 'secrets', 'shop.json'), JSON.stringify({ apps }));
  return async (...args: string[]) => {
    const command = ['local/bootstrap.mjs', file, '--as', 'ana', ...args];
    const env = { SIDECART_RUN_DIR: folder };
    const { exitCode, stdout, stderr } = await execa(process.execPath, command, { env, reject: false });
    return { code: exitCode, out: stdout, err: stderr };
  };
}
