import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { loadTopology } from '../../generator/topology.ts';
import { type Choice, chooseContext } from './context.ts';
import { foreignNamespace, isOurs } from './namespace.ts';
import { WORK_FOLDER } from './overlay.ts';

/**
 * Chooses the cluster to test on, by the rules of chooseContext, and pins it: `env` names a kubeconfig file with that one context,
 * so that nobody who switches contexts in another window moves the tests to another cluster. One with a shop of somebody else's
 * is refused here: said by the test runner's setup, it would come with a trace.
 */
export async function chooseCluster(
  env: NodeJS.ProcessEnv,
): Promise<{ context: string; env: NodeJS.ProcessEnv } | Exclude<Choice, { use: string }>> {
  const contexts = await execa('kubectl', ['config', 'get-contexts', '-o', 'name'], { reject: false });
  if (contexts.code === 'ENOENT')
    return env.SIDECART_CONTEXT
      ? {
          refuse: `SIDECART_CONTEXT=${env.SIDECART_CONTEXT} names a cluster, and kubectl is not on the PATH. Cure: install kubectl.`,
        }
      : { skip: 'kubectl is not on the PATH' };
  const current = await execa('kubectl', ['config', 'current-context'], { reject: false });
  const choice = chooseContext({
    ...(env.SIDECART_CONTEXT ? { told: env.SIDECART_CONTEXT } : {}),
    ...(current.failed ? {} : { current: current.stdout.trim() }),
    all: contexts.stdout?.split('\n').filter(Boolean) ?? [],
  });
  if (!('use' in choice)) return choice;
  const pinned = ['config', 'view', '--context', choice.use, '--minify', '--flatten', '--raw'];
  const { stdout } = await execa('kubectl', pinned);
  mkdirSync(WORK_FOLDER, { recursive: true });
  const file = resolve(join(WORK_FOLDER, 'kubeconfig'));
  writeFileSync(file, stdout, { mode: 0o600 });
  chmodSync(file, 0o600);
  const { namespace } = loadTopology('topology.yaml');
  const look = ['get', 'namespace', namespace, '--ignore-not-found', '--output=json'];
  const found = await execa('kubectl', look, { env: { KUBECONFIG: file }, reject: false });
  // A cluster that does not answer has its say when the tests begin.
  if (!found.failed && found.stdout !== '' && !isOurs(JSON.parse(found.stdout))) {
    const { message, cure } = foreignNamespace(namespace, choice.use);
    return { refuse: `${message}\nCure: ${cure}` };
  }
  return { context: choice.use, env: { KUBECONFIG: file, SIDECART_TEST_CLUSTER: choice.use } };
}
