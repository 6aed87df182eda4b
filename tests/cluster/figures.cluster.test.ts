import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { expect, inject, test } from 'vitest';
import type { ClusterAccess } from './cluster-shop.ts';
import { topology } from './cluster-shop.ts';
import { list } from './kubectl.ts';
import { findRegistry } from './registry.ts';
import { nameLabel, renew } from './workloads.ts';

const { namespace, images } = inject('cluster') as ClusterAccess;
const MB = 1_000_000;
const ROUNDS = 3;

/** What a node fetches for an image it has nothing of, in bytes: the layers as they are stored. */
async function transferSize(image: string): Promise<number> {
  const [, name = '', tag = ''] = /^[^/]+\/(.+):([^:]+)$/.exec(image) ?? [];
  const { push } = await findRegistry();
  const accept =
    'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';
  const answer = await fetch(`http://${push}/v2/${name}/manifests/${tag}`, { headers: { accept } });
  const { layers } = (await answer.json()) as { layers: { size: number }[] };
  return layers.reduce((sum, { size }) => sum + size, 0);
}

/** Milliseconds from a new pod's first appearance to its readiness, in a rolling update of nothing. */
async function startTime(service: string): Promise<number> {
  const columns = 'NAME:.metadata.name,READY:.status.conditions[?(@.type=="Ready")].status';
  const args = [
    'get',
    'pods',
    '-n',
    namespace,
    '-l',
    nameLabel(service),
    '-w',
    '--no-headers',
    '-o',
    `custom-columns=${columns}`,
  ];
  const watch = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const old = (await list('pods', namespace, nameLabel(service))).map(({ metadata }) => metadata.name);
  const appeared = new Map<string, number>();
  let took: number | undefined;
  const listening = new Promise<void>((done) => {
    createInterface(watch.stdout).on('line', (line) => {
      done();
      const [name = '', ready] = line.trim().split(/\s+/);
      if (old.includes(name)) return;
      const first = appeared.get(name) ?? performance.now();
      appeared.set(name, first);
      if (ready === 'True') took ??= performance.now() - first;
    });
  });
  try {
    await listening;
    await renew(namespace, `deployment/${service}`);
  } finally {
    watch.kill();
  }
  if (took === undefined) throw new Error(`no new pod of ${service} was seen to become ready`);
  return took;
}

test('image sizes', async () => {
  const lines = await Promise.all(
    Object.entries(images).map(async ([name, image]) => {
      const local = `sidecart/${name}:${image.split(':').at(-1)}`;
      const { stdout } = await execa('docker', ['image', 'inspect', '--format', '{{.Size}}', local], {
        reject: false,
      });
      const transfer = await transferSize(image);
      expect(transfer).toBeGreaterThan(0);
      const unpacked = stdout ? `${(Number(stdout) / MB).toFixed(1)} MB on disk, ` : '';
      return `${name}: ${unpacked}${(transfer / MB).toFixed(1)} MB to fetch`;
    }),
  );
  console.log(lines.join('\n'));
});

test('pod start times', async () => {
  for (const { name } of topology.services) {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) times.push(await startTime(name));
    const seconds = times.sort((a, b) => a - b).map((ms) => (ms / 1000).toFixed(1));
    console.log(
      `${name}: from pod to ready ${seconds[1]} s (${seconds[0]} to ${seconds.at(-1)}, ${ROUNDS} starts)`,
    );
    expect(times.at(-1)).toBeLessThan(60_000);
  }
});
