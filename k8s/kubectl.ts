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
      `kubectl ${args.filter((arg) => !arg.startsWith('-') || arg.startsWith('--context=')).join(' ')} failed: ${stderr.trim()}`,
      'look at what kubectl says; without --context it talks to the cluster that kubectl config current-context names',
    );
  return stdout;
}

/** The context called `name`, or the current one. */
export function readContext(name?: string): Context {
  // All of it: with --minify kubectl itself fails when there is no such context, and says nothing of those there are.
  const view = JSON.parse(kubectl(['config', 'view', '--output=json'])) as {
    'current-context': string;
    contexts: { name: string; context: { cluster: string } }[] | null;
    clusters: { name: string; cluster: { server?: string } }[] | null;
  };
  const wanted = name ?? view['current-context'];
  const found = view.contexts?.find((context) => context.name === wanted);
  if (!found)
    throw new ShopError(
      name === undefined && !wanted
        ? 'kubectl has no current context'
        : `kubectl knows no context '${wanted}'`,
      howToChoose(view.contexts?.map((context) => context.name) ?? []),
    );
  const cluster = view.clusters?.find((one) => one.name === found.context.cluster)?.cluster;
  return { name: found.name, server: cluster?.server ?? '' };
}

function howToChoose(all: string[]): string {
  if (all.length === 0) return 'make a cluster, or set KUBECONFIG to the file that has its context';
  return `name one with --context NAME; there are ${all.join(', ')} (kubectl config get-contexts)`;
}

const LOCAL_NAMES =
  /^(kind-.+|k3d-.+|minikube|docker-desktop|rancher-desktop|orbstack|colima(-.+)?|microk8s)$/;

/**
 * Whether a context is of a cluster on the developer's own machine, by what the common tools call theirs. An address is not
 * enough: tunnels to other places end on this machine too.
 */
export function looksLocal(context: string): boolean {
  return LOCAL_NAMES.test(context);
}

/**
 * The context to work in: the one named on the command line, whatever it is, or the current one if it is local by its name.
 * @throws ShopError for another one: what changes a cluster does not meet one by accident.
 */
export function chooseContext(named: string | undefined): Context {
  const context = readContext(named);
  if (named !== undefined || looksLocal(context.name)) return context;
  throw new ShopError(
    `the current context ${context.name} (${context.server}) is not local by its name (kind-*, k3d-*, minikube, docker-desktop and the like)`,
    `add --context ${context.name} if it is meant`,
  );
}
