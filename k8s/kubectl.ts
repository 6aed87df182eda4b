import { spawnSync } from 'node:child_process';
import { ShopError } from '../local/shop-error.ts';

/** A cluster as kubectl's configuration has it. */
export interface Context {
  name: string;
  /** URL of the API server. */
  server: string;
}

/**
 * Runs kubectl and returns what it printed. `input` goes to its standard input: a secret never becomes an argument,
 * which others on the machine could read.
 * @throws ShopError when there is no kubectl, or with what it said when it failed.
 */
export function kubectl(args: string[], input?: string): string {
  const { error, status, stdout, stderr } = spawnSync('kubectl', args, {
    encoding: 'utf8',
    input: input ?? '',
    maxBuffer: 64 * 1024 * 1024,
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    throw new ShopError('there is no kubectl on the PATH', 'install kubectl 1.28 or newer');
  if (error) throw error;
  if (status !== 0)
    throw new ShopError(
      `kubectl ${args.filter((arg) => !arg.startsWith('-')).join(' ')} failed: ${stderr.trim()}`,
      'look at what kubectl says; kubectl config current-context names the cluster that it talks to',
    );
  return stdout;
}

/** The context called `name`, or the current one. */
export function readContext(name?: string): Context {
  const args = ['config', 'view', '--minify', '--output=json', ...(name ? [`--context=${name}`] : [])];
  const view = JSON.parse(kubectl(args)) as {
    contexts: { name: string }[] | null;
    clusters: { cluster: { server?: string } }[] | null;
  };
  const found = view.contexts?.[0]?.name;
  if (!found)
    throw new ShopError(
      name ? `kubectl knows no context ${name}` : 'kubectl has no current context',
      'choose one of `kubectl config get-contexts` with `kubectl config use-context NAME`',
    );
  return { name: found, server: view.clusters?.[0]?.cluster.server ?? '' };
}

const LOCAL_NAMES =
  /^(kind-.+|k3d-.+|minikube|docker-desktop|rancher-desktop|orbstack|colima(-.+)?|microk8s)$/;

/** Whether a cluster is one on the developer's own machine, by what the common tools call theirs and by its address. */
export function looksLocal({ name, server }: Context): boolean {
  const host = URL.canParse(server) ? new URL(server).hostname : '';
  return LOCAL_NAMES.test(name) || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);
}

/**
 * The context to work in: the one named on the command line, whatever it is, or the current one if it looks local.
 * @throws ShopError for another one: what changes a cluster does not meet one by accident.
 */
export function chooseContext(named: string | undefined): Context {
  const context = readContext(named);
  if (named !== undefined || looksLocal(context)) return context;
  throw new ShopError(
    `the current context ${context.name} (${context.server}) does not look like a cluster on this machine`,
    `add --context ${context.name} if it is meant`,
  );
}
