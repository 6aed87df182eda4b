import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { servePages } from '../local/programs/test-support.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { testFolder } from '../local/testing.ts';
import { makeAuthority } from './authority.ts';
import { daprVersion } from './dapr-chart.ts';
import { documentedCommands, helmCommands } from './dapr-commands.ts';
import type { Manifest } from './manifests.ts';
import { useDaprChart } from './testing.ts';

describe('helm, from the checkout, whose folder dapr/ it could take for a chart', () => {
  const VERSION = daprVersion();
  const PUBLIC = 'https://dapr.github.io/helm-charts';
  /** They name no chart of Dapr's: the one goes back to what was installed, the other takes one of somebody else. */
  const OTHERS = [/^helm rollback dapr /, /^helm install eg oci:\/\//];
  const commands = helmCommands().filter(({ command }) => !OTHERS.some((other) => other.test(command)));

  const chart = useDaprChart();

  /** The address of a chart repository on this machine, which has the real chart under its released name. */
  async function repository(): Promise<string> {
    const folder = testFolder();
    await helm(`helm package '${chart()}' --version ${VERSION} --destination '${folder}'`);
    await helm(`helm repo index '${folder}'`);
    const files = ['index.yaml', `dapr-${VERSION}.tgz`];
    const pages = files.map((name) => [`/${name}`, readFileSync(join(folder, name))] as const);
    return (await servePages(new Map(pages))).url;
  }

  /** What a line for a shell does, without the developer's own helm: its repositories, its cache. */
  function helm(command: string, cwd = CHECKOUT) {
    const own = testFolder();
    const homes = ['CACHE', 'CONFIG', 'DATA'].map((home) => [`HELM_${home}_HOME`, join(own, home)]);
    return execa('bash', ['-c', command], { cwd, env: Object.fromEntries(homes) });
  }

  /** As it is told, but for where the chart and the authority are; and what would change a cluster only renders. */
  function harmless(command: string, { url, authority }: { url: string; authority: string }): string {
    return (command.split(' | ')[0] ?? '')
      .replace(/^helm (install|upgrade)( --install)? /, 'helm template ')
      .replaceAll(PUBLIC, url)
      .replaceAll(/\bVERSION\b/g, VERSION)
      .replaceAll('.run/dapr-ca/values.yaml', authority);
  }

  test('no file but those that are read here tells one', async () => {
    const grep = ['grep', '--no-index', '--exclude-standard', '--files-with-matches', '--extended-regexp'];
    const { stdout } = await execa(
      'git',
      [...grep, 'helm (install|upgrade|show|template|pull) ', '--', '.', ':!*.test.ts'],
      { cwd: CHECKOUT },
    );
    expect(stdout.split('\n').sort()).toEqual([...new Set(commands.map(({ where }) => where))].sort());
  });

  test('there are some to try: to show, to install, to upgrade', () => {
    const kinds = commands.map(({ command }) => /^helm \w+( crds| --install)?/.exec(command)?.[0]);
    expect(new Set(kinds)).toEqual(new Set(['helm show crds', 'helm upgrade --install', 'helm upgrade']));
  });

  test.each(commands)('$where: $command', async ({ command }) => {
    const url = await repository();
    const { values: authority } = makeAuthority({
      folder: join(testFolder(), 'ca'),
      days: 1,
      renew: false,
    });
    const { stdout } = await helm(harmless(command, { url, authority }));
    const objects = parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
    const find = (kind: string, name: string) =>
      objects.find((object) => object?.kind === kind && object.metadata.name === name);
    if (command.startsWith('helm show crds'))
      return expect(find('CustomResourceDefinition', 'components.dapr.io')).toBeDefined();

    const [container] = find('Deployment', 'dapr-sentry')?.spec.template.spec.containers ?? [];
    expect(container.image).toMatch(new RegExp(`:${VERSION}$`));
    const { root } = parse(readFileSync(authority, 'utf8')).dapr_sentry.tls;
    const bundle = find('Secret', 'dapr-trust-bundle') as unknown as { data: Record<string, string> };
    expect(Buffer.from(bundle.data['ca.crt'] ?? '', 'base64').toString()).toBe(root.certPEM);
  });

  test.each(['helm show crds', 'helm template dapr'])('control: a name fails there, for %s', async (verb) => {
    const named = `${verb} dapr --repo ${await repository()} --version ${VERSION}`;
    await expect(helm(named)).rejects.toThrow('Chart.yaml file is missing');
    await expect(helm(named, testFolder())).resolves.toMatchObject({ exitCode: 0 });
  });
});

test('what npm itself says gets into no pipe', () => {
  const piped = documentedCommands().filter(({ command }) => /^npm run .*\|/.test(command));
  expect(piped.length).toBeGreaterThan(0);
  expect(piped.filter(({ command }) => !command.startsWith('npm run --silent '))).toEqual([]);
});

/** What is written to, or read where a secret is given: `-keyout F`, `--broker @F`, `> F` and the like. */
const FILES = /(?:-keyout |-out |--key=|--cert=|--ca |--cacert |--broker @|--out |> )([\w./-]+)/g;

test('git sees none of the files that the commands write or take secrets from', async () => {
  const files = documentedCommands()
    .filter(({ where }) => where === 'docs/kubernetes.md')
    .flatMap(({ command }) => [...command.matchAll(FILES)].map(([, file = '']) => file));
  expect(files).toEqual(
    expect.arrayContaining(['.run/local-ingress/tls.key', '.run/outside/broker-url.txt']),
  );
  expect(await untracked(files)).toEqual([]);
  // Control: where they would be seen.
  expect(await untracked([...files, 'tls.key'])).toEqual(['?? tls.key']);
});

/** What `git status` has to say of these files in a new checkout with the project's .gitignore. */
async function untracked(files: string[]): Promise<string[]> {
  const cwd = testFolder();
  await execa('git', ['init', '--quiet'], { cwd });
  cpSync(join(CHECKOUT, '.gitignore'), join(cwd, '.gitignore'));
  await execa('git', ['add', '.gitignore'], { cwd });
  for (const file of files) {
    mkdirSync(join(cwd, dirname(file)), { recursive: true });
    writeFileSync(join(cwd, file), '');
  }
  const { stdout } = await execa('git', ['status', '--porcelain', '--untracked-files=all'], { cwd });
  return stdout.split('\n').filter((line) => line.startsWith('??'));
}
