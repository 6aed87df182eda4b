import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { testFolder } from '../local/testing.ts';
import { skip } from '../tests/cluster/skip.ts';

beforeEach((context) => {
  if (spawnSync('kubectl', ['version', '--client']).error) skip(context, 'kubectl is not on the PATH');
});

/** A configuration of kubectl: each of its contexts is a server of this machine at which nobody listens. */
function configuration(current: string, names: string[]): string {
  const file = join(testFolder(), 'kubeconfig');
  const cluster = (name: string) => ({ name, cluster: { server: 'https://127.0.0.1:1' } });
  const context = (name: string) => ({ name, context: { cluster: name, user: 'nobody' } });
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': current },
    ...{ clusters: names.map(cluster), contexts: names.map(context) },
    users: [{ name: 'nobody', user: { token: 'none' } }],
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

function run(command: string, kubeconfig: string) {
  const { status, stderr } = spawnSync(process.execPath, ['local/bootstrap.mjs', ...command.split(' ')], {
    encoding: 'utf8',
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  expect(stderr).not.toMatch(/^\s+at /m);
  return { status, stderr };
}

const COMMANDS = ['k8s/cli.ts secrets', 'operate/dlq.ts list --kubernetes', 'bench/run.ts edit --copy'];

test.each(COMMANDS)('%s leaves the end of a tunnel alone until it is named', (command) => {
  const config = configuration('tunnel', ['tunnel', 'kind-dev']);
  const { status, stderr } = run(command, config);
  expect(status).toBe(1);
  expect(stderr).toBe(
    'the current context tunnel (https://127.0.0.1:1) is not local by its name (kind-*, k3d-*, minikube, docker-desktop and the ' +
      'like)\nCure: add --context tunnel if it is meant\n',
  );
});

// Not the bench: it would wait for the cluster.
test.each(COMMANDS.slice(0, 2))('%s goes to a context that is named or local by its name', (command) => {
  const unreachable = /127\.0\.0\.1:1 was refused/;
  const config = configuration('tunnel', ['tunnel']);
  expect(run(`${command} --context tunnel`, config).stderr).toMatch(unreachable);
  expect(run(command, configuration('kind-dev', ['kind-dev'])).stderr).toMatch(unreachable);
});

test.each(COMMANDS)('%s tells a context that is none, with those there are', (command) => {
  const config = configuration('kind-dev', ['kind-dev', 'tunnel']);
  expect(run(`${command} --context nope`, config)).toEqual({
    status: 1,
    stderr:
      "kubectl knows no context 'nope'\nCure: name one with --context NAME; there are kind-dev, tunnel (kubectl config get-contexts)\n",
  });
});

test('an empty name is no name: it does not mean the current context', () => {
  const config = configuration('tunnel', ['tunnel']);
  expect(run('k8s/cli.ts secrets --context=', config).stderr).toContain("kubectl knows no context ''");
});

test('no current context, and no context at all, are told with the cure', () => {
  expect(run('k8s/cli.ts secrets', configuration('', ['kind-dev'])).stderr).toBe(
    'kubectl has no current context\nCure: name one with --context NAME; there are kind-dev (kubectl config get-contexts)\n',
  );
  expect(run('k8s/cli.ts secrets', configuration('', [])).stderr).toContain(
    'kubectl has no current context\nCure: make a cluster',
  );
});
