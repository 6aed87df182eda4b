import { describe, expect, test } from 'vitest';
import { brokerServer } from '../../generator/kubernetes.ts';
import { topology } from './cluster-shop.ts';
import { criticalFindings, type Finding, kubeScore } from './kube-score.ts';
import { kubectl } from './kubectl.ts';
import { skip } from './skip.ts';

interface Exception {
  overlays: string[];
  objects: RegExp;
  check: string;
  because: string;
}

/** What kube-score finds and this project means so. Each entry must be needed, or it goes. */
const EXCEPTIONS: Exception[] = [
  {
    overlays: ['local', 'production'],
    objects: /./,
    check: 'container-image-pull-policy',
    because:
      'a tag never changes its content, and with Always a pod could not be restarted while the registry is away',
  },
  {
    overlays: ['local'],
    objects: /./,
    check: 'pod-networkpolicy',
    because: 'network policies are a component: production has it, and not every local cluster enforces them',
  },
  {
    overlays: ['local'],
    objects: new RegExp(`^StatefulSet/(postgres|${brokerServer(topology.broker).name})$`),
    check: 'statefulset-has-servicename',
    because: 'one replica, reached through an ordinary Service: nobody asks for a pod by its own name',
  },
  {
    overlays: ['local'],
    objects: /^StatefulSet\/postgres$/,
    check: 'container-security-context-user-group-id',
    because:
      'the image makes its database as the user 999 that it has, and initdb refuses one without a name',
  },
];

describe('kube-score has no critical finding beyond the written exceptions', () => {
  for (const overlay of ['local', 'production'])
    test(`in the overlay ${overlay}`, async (context) => {
      const program = await kubeScore(process.env);
      if (!program) return skip(context, 'there is no Go to build kube-score with');
      const findings = await criticalFindings(
        program,
        await kubectl(['kustomize', `k8s/overlays/${overlay}`]),
      );
      const means = (exception: Exception, { object, check }: Finding) =>
        exception.check === check && exception.objects.test(object);
      const exceptions = EXCEPTIONS.filter(({ overlays }) => overlays.includes(overlay));
      expect(
        findings.filter((finding) => !exceptions.some((exception) => means(exception, finding))),
      ).toEqual([]);
      expect(
        exceptions.filter((exception) => !findings.some((finding) => means(exception, finding))),
      ).toEqual([]);
    });

  test('control: a root file system that can be written is one', async (context) => {
    const program = await kubeScore(process.env);
    if (!program) return skip(context, 'there is no Go to build kube-score with');
    const manifests = await kubectl(['kustomize', 'k8s/overlays/production']);
    const checks = (text: string) =>
      criticalFindings(program, text).then((found) => found.map(({ check }) => check));
    const spoilt = manifests.replaceAll('readOnlyRootFilesystem: true', 'readOnlyRootFilesystem: false');
    expect(await checks(manifests)).not.toContain('container-security-context-readonlyrootfilesystem');
    expect(await checks(spoilt)).toContain('container-security-context-readonlyrootfilesystem');
  });
});
