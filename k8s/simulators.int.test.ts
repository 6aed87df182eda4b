import { beforeEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import type { Manifest } from './manifests.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
const simulators = topology.externals.filter(({ simulatorPort }) => simulatorPort !== undefined);

beforeEach(needsKubectl);

const find = (manifests: Manifest[], kind: string, name: string) =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);

/** What is wrong with the books of a simulator, in words. */
function bookFaults(manifests: Manifest[], name: string): string[] {
  const { strategy, replicas, template } = find(manifests, 'Deployment', name)?.spec ?? {};
  const { securityContext, volumes = [], containers } = template.spec;
  const [app] = containers;
  const file = setting(app, 'STATE_FILE');
  const mount = app.volumeMounts.find(({ mountPath }: Manifest) => file?.startsWith(`${mountPath}/`));
  const volume = volumes.find((one: Manifest) => one.name === mount?.name);
  const claim = find(manifests, 'PersistentVolumeClaim', volume?.persistentVolumeClaim?.claimName);
  const faults = {
    'two companies at a time': strategy.type === 'Recreate' && replicas === 1,
    'books on no volume': mount !== undefined && mount.readOnly !== true,
    'a volume that goes with the pod': claim?.spec.accessModes[0] === 'ReadWriteOnce',
    'a volume that it cannot write': securityContext.fsGroup === securityContext.runAsGroup,
  };
  return Object.entries(faults).flatMap(([fault, holds]) => (holds ? [] : [fault]));
}

const setting = (app: Manifest, variable: string): string | undefined =>
  app.env.find(({ name }: Manifest['metadata']) => name === variable)?.value;

describe.each(simulators)('the simulator of $name', ({ name, webhooks }) => {
  test('is one company, whose books outlive its pod', () => {
    const manifests = renderOverlay({ overlay: 'local' });
    expect(bookFaults(manifests, name)).toEqual([]);
  });

  test.each([
    [
      'two companies at a time',
      (spec: Manifest) => Object.assign(spec, { strategy: { type: 'RollingUpdate' } }),
    ],
    [
      'books on no volume',
      (spec: Manifest) => {
        const [{ env }] = spec.template.spec.containers;
        env.find((one: Manifest['metadata']) => one.name === 'STATE_FILE').value = '/elsewhere/books.jsonl';
      },
    ],
    [
      'a volume that goes with the pod',
      (spec: Manifest) => Object.assign(spec.template.spec, { volumes: [{ name: 'data', emptyDir: {} }] }),
    ],
  ])('control: %s would be seen', (fault, spoil) => {
    const manifests = renderOverlay({ overlay: 'local' });
    spoil(find(manifests, 'Deployment', name)?.spec);
    expect(bookFaults(manifests, name)).toContain(fault);
  });

  test('calls back by the way in, at an operation that is open there', () => {
    const manifests = renderOverlay({ overlay: 'local' });
    const [app] = find(manifests, 'Deployment', name)?.spec.template.spec.containers ?? [];
    const { hostname, port, pathname } = new URL(setting(app, 'WEBHOOK_URL') ?? 'http://nowhere');
    expect(find(manifests, 'Service', hostname)?.spec.ports).toMatchObject([{ port: Number(port || 80) }]);
    expect(hostname).toBe(topology.edge);
    const open = topology.calls.filter(({ forwarded, caller }) => forwarded && caller === topology.edge);
    expect(webhooks?.operation).toEqual({ method: 'POST', path: pathname });
    expect(open.flatMap(({ operations }) => operations)).toContainEqual(webhooks?.operation);
  });

  test('is not in production, and nothing there lets in or out who has its name', () => {
    const selected = (manifests: Manifest[]) =>
      manifests.filter(
        (manifest) =>
          JSON.stringify(manifest).includes(`"app.kubernetes.io/name":"${name}"`) ||
          (manifest.metadata.name === name && manifest.kind !== 'HTTPEndpoint'),
      );
    expect(selected(renderOverlay({ overlay: 'production' }))).toEqual([]);
    // Control: where there is one, its pod, its account and its policies are found.
    const kinds = selected(renderOverlay({ overlay: 'local', components: ['network-policies'] })).map(
      ({ kind }) => kind,
    );
    expect(kinds).toEqual(expect.arrayContaining(['Deployment', 'ServiceAccount', 'NetworkPolicy']));
  });
});
