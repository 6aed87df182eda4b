import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CHECKOUT } from '../../local/run-paths.ts';
import { skip } from '../cluster/skip.ts';
import { useEvaluator } from './evaluate.ts';
import { readDefinition, withDependencies } from './recorded.ts';

const evaluate = useEvaluator();

interface Result {
  EnabledManifests: string[];
  Manifests: { Name: string; ResourceDependencies: string[] | null }[];
}

describe('the real Tilt', () => {
  let folder = '';
  let whyNot: string | undefined;
  beforeAll(async () => {
    const missing = async (program: string, ...args: string[]) =>
      (await execa(program, args, { reject: false })).code === 'ENOENT';
    if (await missing('tilt', 'version')) whyNot = 'tilt is not on the PATH';
    else if (await missing('kubectl', 'version', '--client'))
      whyNot = 'kubectl is not on the PATH: tilt renders with it';
    folder = mkdtempSync(join(tmpdir(), 'sidecart-tilt-'));
    writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(clusterNowhere('kind-nowhere')));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach((context) => {
    if (whyNot) skip(context, whyNot);
  });

  const tiltfileResult = async (args: string[]): Promise<Result> => {
    const env = { KUBECONFIG: join(folder, 'kubeconfig'), TILT_DISABLE_ANALYTICS: '1' };
    const { stdout } = await execa('tilt', ['alpha', 'tiltfile-result', '--', ...args], {
      cwd: CHECKOUT,
      env,
    });
    return JSON.parse(stdout);
  };

  test.each([[[]], [['orders']], [['--without', 'inventory']], [['--local']]])(
    'agrees on what %j starts, and in which order',
    async (args) => {
      const real = await tiltfileResult(args);
      const { resources, enabled } = readDefinition(await evaluate({ args }));
      expect(real.EnabledManifests.sort()).toEqual([...withDependencies(resources, enabled)].sort());
      const order = real.Manifests.map(({ Name, ResourceDependencies }) => [
        Name,
        (ResourceDependencies ?? []).sort(),
      ]);
      expect(Object.fromEntries(order)).toEqual(
        Object.fromEntries([...resources.values()].map(({ name, deps }) => [name, [...deps].sort()])),
      );
    },
  );

  test('refuses to start nothing too', async () => {
    await expect(tiltfileResult(['orders', '--without', 'orders'])).rejects.toThrow('--without takes away');
  });

  test('refuses another context too', async () => {
    writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(clusterNowhere('production')));
    await expect(tiltfileResult([])).rejects.toThrow("the kube context 'production' is none of kind");
  });
});

/** A kubeconfig (JSON is YAML) with one context, whose cluster nobody can reach. */
function clusterNowhere(name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    contexts: [{ name, context: { cluster: name, user: name } }],
    clusters: [{ name, cluster: { server: 'https://127.0.0.1:1' } }],
    users: [{ name, user: {} }],
  };
}
