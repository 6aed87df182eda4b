import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { documentedCommands } from './dapr-commands.ts';
import { containersOf } from './pod-rules.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
const simulators = topology.externals.flatMap(({ name, simulatorPort }) => (simulatorPort ? [name] : []));
const names = [...topology.services.map(({ name }) => name), ...simulators, 'platform'].sort();

beforeEach(needsKubectl);

test('the pods of the local overlay want an image of each service, of each simulator and of platform', () => {
  const images = renderOverlay({ overlay: 'local' })
    .filter(({ kind }) => kind === 'Deployment')
    .flatMap(containersOf)
    .map(({ image }) => image.split(':')[0].replace('sidecart/', ''));
  expect([...new Set(images)].sort()).toEqual(names);
});

test('`npm run images` makes all of them', async () => {
  const script = ['local/bootstrap.mjs', 'k8s/images.ts', 'no-such-service'];
  const { stderr, exitCode } = await execa(process.execPath, script, { cwd: CHECKOUT, reject: false });
  expect(exitCode).toBe(2);
  const [, known = ''] = /there is no service no-such-service; there are (.*)/.exec(stderr) ?? [];
  expect(known.split(', ').sort()).toEqual(names);
});

test('the documented commands carry all of them to the nodes', () => {
  const loops = documentedCommands().flatMap(
    ({ command }) => /^for name in (.*); do$/.exec(command)?.[1] ?? [],
  );
  expect(loops.length).toBeGreaterThan(0);
  for (const loop of loops) expect(loop.split(' ').sort()).toEqual(names);
});

test.each(['Dockerfile', '.dockerignore'])(
  '%s takes a simulator’s folder wherever it takes that of platform',
  (file) => {
    const lines = readFileSync(join(CHECKOUT, file), 'utf8').split('\n');
    const copies = lines.filter((line) => /^(COPY platform platform|!platform)$/.test(line));
    expect(copies.length).toBeGreaterThan(0);
    for (const name of simulators)
      for (const copy of new Set(copies)) {
        const same = copy.replaceAll('platform', name);
        expect(
          lines.filter((line) => line === same),
          same,
        ).toHaveLength(copies.filter((one) => one === copy).length);
      }
  },
);
