import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** `npm run check`: everything that needs no process of the shop, in about 20 seconds. Runs all of it before it fails. */
const node = (...args: string[]) => [process.execPath, ...args];
const script = (file: string, ...args: string[]) => node('--import', 'tsx', file, ...args);
/** These name what is wrong one by one, each with its cure: files that differ have another than a fault in the table. */
const SAID = 'as it says above';
const steps: { name: string; command: string[]; cure: string }[] = [
  {
    name: 'lint and format',
    command: node(
      join('node_modules', '@biomejs', 'biome', 'bin', 'biome'),
      'ci',
      '--error-on-warnings',
      '.',
    ),
    cure: 'npx biome check --write .',
  },
  {
    name: 'types',
    command: node(join('node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'),
    cure: 'mend the types',
  },
  {
    name: 'generated files',
    command: script('generator/generate.ts', '--check'),
    cure: SAID,
  },
  {
    name: 'migrations',
    command: script('generator/migrations.ts', '--check'),
    cure: SAID,
  },
];

let failures = 0;
for (const step of steps) {
  const [command, ...args] = step.command as [string, ...string[]];
  const started = performance.now();
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    status === 0
      ? `ok      ${step.name} (${seconds} s)`
      : `FAILED  ${step.name} (${seconds} s). Cure: ${step.cure}`,
  );
  if (status !== 0) failures += 1;
}
process.exit(failures > 0 ? 1 : 0);
