import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import { bundleFile, bundleServices } from './bundle.ts';
import { CHECKOUT } from './run-paths.ts';
import { testFolder } from './testing.ts';

test('a bundle runs by itself anywhere, and its stacks name the source; packages are not in its map', async () => {
  const dist = join(testFolder(), 'dist');
  const { services } = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const names = services.map(({ name }) => name);
  await bundleServices(names, dist);
  for (const name of names) expect(existsSync(bundleFile(dist, name)), name).toBe(true);
  const bundle = bundleFile(dist, 'orders');
  const { stdout, exitCode } = await execa(process.execPath, ['--enable-source-maps', bundle], {
    env: {},
    extendEnv: false,
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(
    new RegExp(`${join(import.meta.dirname, '..', 'packages', 'kit', 'src')}/\\w+\\.ts:\\d+`),
  );
  expect(statSync(`${bundle}.map`).size).toBeLessThan(1_000_000);
});
