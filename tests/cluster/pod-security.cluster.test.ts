import { describe, expect, inject, test } from 'vitest';
import { until } from '../e2e/shop.ts';
import { type ClusterAccess, simulators, topology } from './cluster-shop.ts';
import { get, type KubeObject, kubectl } from './kubectl.ts';
import { restrictedPod } from './restricted-pod.ts';
import { livePods } from './workloads.ts';

const { namespace, images } = inject('cluster') as ClusterAccess;

/** What the kernel says of process 1, and whether the root file system around this program lets itself be written. */
const LOOK = `
  const { readFileSync, writeFileSync } = require('node:fs');
  const status = readFileSync('/proc/1/status', 'utf8');
  const field = (name) => new RegExp('^' + name + ':\\\\s*(.*)$', 'm').exec(status)[1];
  let written = true;
  try { writeFileSync('/written', ''); } catch { written = false; }
  console.log(JSON.stringify({
    users: [...new Set(field('Uid').split('\\t'))], capabilities: field('CapEff'), bound: field('CapBnd'),
    noNewPrivileges: field('NoNewPrivs'), seccomp: field('Seccomp'), program: field('Name'), written,
  }));`;
const RESTRICTED = {
  capabilities: '0000000000000000',
  bound: '0000000000000000',
  noNewPrivileges: '1',
  seccomp: '2',
};
const LOOKER = `look-${Date.now().toString(36)}`;

const containersOf = ({ spec }: KubeObject) => [...(spec.initContainers ?? []), ...spec.containers];

describe('what runs, runs as the restricted Pod Security Standard wants it', () => {
  test('the namespace enforces it', async () => {
    expect((await get('namespace', namespace)).metadata.labels).toMatchObject({
      'pod-security.kubernetes.io/enforce': 'restricted',
    });
  });

  test.each([
    ['as root', { runAsNonRoot: false, runAsUser: 0 }],
    ['with privileges', { privileged: true, allowPrivilegeEscalation: true }],
    ['with a capability', { capabilities: { add: ['NET_ADMIN'] } }],
  ])('control: a pod that runs %s is refused', async (_name, more) => {
    const pod = restrictedPod('refused', namespace, images[topology.edge] ?? '', []);
    for (const container of pod.spec.containers) Object.assign(container.securityContext, more);
    const create = kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(pod) });
    await expect(create).rejects.toThrow(/violates PodSecurity "restricted/);
  });

  test('every container, the sidecars’ included, has a read-only root, no privileges, requests, and a limit of memory', async () => {
    for (const pod of await livePods(namespace))
      for (const { name, securityContext, resources } of containersOf(pod)) {
        const where = `${pod.metadata.name}, container ${name}`;
        expect(securityContext, where).toMatchObject({
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        });
        const nonRoot = securityContext.runAsNonRoot ?? pod.spec.securityContext.runAsNonRoot;
        expect(nonRoot, where).toBe(true);
        const seccomp = securityContext.seccompProfile ?? pod.spec.securityContext.seccompProfile;
        expect(seccomp?.type, where).toBe('RuntimeDefault');
        expect(Object.keys(resources.requests ?? {}), where).toEqual(
          expect.arrayContaining(['cpu', 'memory']),
        );
        expect(resources.limits?.memory, where).toBeDefined();
      }
  });

  test('every service’s pod has a sidecar that is a native one', async () => {
    for (const { name } of topology.services)
      for (const pod of await livePods(namespace, `app.kubernetes.io/name=${name}`))
        expect(
          (pod.spec.initContainers ?? []).find((container: { name: string }) => container.name === 'daprd'),
        ).toMatchObject({ restartPolicy: 'Always' });
  });

  test('as seen from inside: another user than root, no capability, no new privileges, a file system that refuses', async () => {
    for (const { name } of [...topology.services, ...simulators, { name: 'platform' }])
      for (const { metadata } of await livePods(namespace, `app.kubernetes.io/name=${name}`)) {
        const args = ['exec', '-n', namespace, metadata.name, '-c', 'app', '--', 'node', '--eval', LOOK];
        expect(JSON.parse(await kubectl(args)), metadata.name).toMatchObject({
          ...RESTRICTED,
          users: ['10001'],
          written: false,
        });
      }
  });

  test('and so for the sidecars, seen from a container beside them in their own process namespace', async () => {
    for (const { name } of topology.services)
      for (const { metadata } of await livePods(namespace, `app.kubernetes.io/name=${name}`)) {
        const beside = ['--target', 'daprd', '--profile', 'restricted', '--container', LOOKER];
        const image = images[name] ?? '';
        const program = ['--', 'node', '--eval', LOOK];
        await kubectl(['debug', '-n', namespace, metadata.name, '--image', image, ...beside, ...program]);
        const seen = await until(
          `a look at the sidecar of ${metadata.name}`,
          () => kubectl(['logs', '-n', namespace, metadata.name, '-c', LOOKER]),
          60_000,
          500,
        );
        const process = JSON.parse(seen);
        expect(process, metadata.name).toMatchObject({ ...RESTRICTED, program: 'daprd' });
        expect(process.users, metadata.name).not.toContain('0');
      }
  });
});
