import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { skip } from '../cluster/skip.ts';
import { skipOnOtherBrokers } from './other-broker.ts';

const previous = process.env.SIDECART_PREVIOUS;

/** During a rolling update, and after a roll-back, the release before works on today's schema. */
test('the tests of the release before pass on the migrations of this one', async (context) => {
  skipOnOtherBrokers(context, 'it is about the schema, and starts no shop');
  if (!previous) return skip(context, 'SIDECART_PREVIOUS names no earlier release (a tag or commit) to try');
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-previous-'));
  const run = (command: string, ...args: string[]) =>
    execa(command, args, { cwd: folder, all: true, reject: false });
  try {
    await execa('git', ['clone', '--quiet', '.', folder]);
    const checkout = await run('git', 'checkout', '--quiet', previous);
    expect(checkout.exitCode, checkout.all).toBe(0);
    const install = await run('npm', 'ci', '--no-audit', '--no-fund');
    expect(install.exitCode, install.all).toBe(0);
    for (const service of readdirSync(join(folder, 'services'))) {
      // One that this release has not any more has no migrations of today to be tried on.
      if (!existsSync(join('services', service))) {
        rmSync(join(folder, 'services', service), { recursive: true });
        continue;
      }
      const migrations = join('services', service, 'migrations');
      rmSync(join(folder, migrations), { recursive: true, force: true });
      if (existsSync(migrations)) cpSync(migrations, join(folder, migrations), { recursive: true });
    }
    const tests = await run('npx', 'vitest', 'run', '--project', 'int', 'services');
    expect(tests.exitCode, tests.all).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
