import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { type Choice, chooseContext } from './context.ts';
import { WORK_FOLDER } from './overlay.ts';

/**
 * Chooses the cluster to test on, by the rules of chooseContext, and pins it: `env` names a kubeconfig file with that one context,
 * so that nobody who switches contexts in another window moves the tests to another cluster.
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
  return { context: choice.use, env: { KUBECONFIG: file, SIDECART_TEST_CLUSTER: choice.use } };
}
