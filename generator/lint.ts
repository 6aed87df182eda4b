import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineCounter, parseAllDocuments } from 'yaml';
import { brokerTemplates, loadBroker } from './broker.ts';
import { lintBroker } from './lint-broker.ts';
import { lintComponent } from './lint-component.ts';
import { lintConfiguration } from './lint-configuration.ts';
import { lintEndpoint, missingEndpoints } from './lint-endpoint.ts';
import { overlayFaults } from './lint-overlay.ts';
import { lintResiliency } from './lint-resiliency.ts';
import { lintSubscription } from './lint-subscription.ts';
import type { Topology } from './topology.ts';

/**
 * Checks the files that sidecars read, generated or not: Dapr logs a bad one at most, and then runs without it.
 * What is looked for here has each cost somebody a message, a night or a secret.
 */

/** One YAML document of a file. */
export interface Resource {
  path: string;
  line: number;
  kind: string;
  name: string;
  scopes: string[];
  // biome-ignore lint/suspicious/noExplicitAny: what a linter is given has no known shape
  spec: any;
}

/** What the rules look at together. */
export interface LintContext {
  topology: Topology;
  /** Every resource, by kind. */
  of(kind: string): Resource[];
}

const RULES: Record<string, (resource: Resource, context: LintContext) => string[]> = {
  Component: lintComponent,
  Configuration: lintConfiguration,
  HTTPEndpoint: lintEndpoint,
  Resiliency: lintResiliency,
  Subscription: lintSubscription,
  Kustomization: () => [],
};

/**
 * Lints components/*.yaml, everything under dapr/, the brokers' templates, in use or not, and where the overlays bring
 * the shop. One line per fault, with its place and its cure.
 */
export function lintProject(root: string, topology: Topology): string[] {
  const paths = [
    ...readdirSync(join(root, 'components')).map((name) => `components/${name}`),
    ...readdirSync(join(root, 'dapr'), { recursive: true, encoding: 'utf8' }).map((name) => `dapr/${name}`),
  ].filter((path) => /\.ya?ml$/.test(path));
  const files = paths.sort().map((path) => ({ path, content: readFileSync(join(root, path), 'utf8') }));
  return [...lintFiles(files, topology), ...templateFaults(root), ...overlayFaults(root, topology)];
}

/** As lintProject, from the files' text. */
export function lintFiles(files: { path: string; content: string }[], topology: Topology): string[] {
  const faults: string[] = [];
  const resources: Resource[] = [];
  for (const { path, content } of files) {
    const read = readResources(path, content);
    faults.push(...read.faults);
    resources.push(...read.resources);
  }
  const context: LintContext = {
    topology,
    of: (kind) => resources.filter((resource) => resource.kind === kind),
  };
  for (const resource of resources) {
    const rule = RULES[resource.kind];
    const found = rule
      ? rule(resource, context)
      : [`${resource.kind || 'this document'} is no kind that belongs here. Move or remove it.`];
    faults.push(...found.map((fault) => `${resource.path}:${resource.line}: ${fault}`));
  }
  return [...faults, ...missingFaults(context), ...missingEndpoints(context)];
}

function templateFaults(root: string): string[] {
  return brokerTemplates(root).flatMap((name) =>
    lintBroker(loadBroker(root, name)).map((fault) => `components/brokers/${name}.yaml: ${fault}`),
  );
}

function readResources(path: string, content: string): { resources: Resource[]; faults: string[] } {
  const lines = new LineCounter();
  const documents = parseAllDocuments(content, { lineCounter: lines, prettyErrors: false });
  if ('empty' in documents) return { resources: [], faults: [`${path}: is empty. Remove it.`] };
  const faults = documents.flatMap((document) =>
    document.errors.map(
      (error) => `${path}:${lines.linePos(error.pos[0]).line}: no valid YAML: ${error.message}`,
    ),
  );
  if (faults.length > 0) return { resources: [], faults };
  const resources = documents.map((document) => {
    const value = document.toJS() ?? {};
    return {
      path,
      line: lines.linePos(document.contents?.range?.[0] ?? document.range[0]).line,
      kind: String(value.kind ?? ''),
      name: String(value.metadata?.name ?? ''),
      scopes: Array.isArray(value.scopes) ? value.scopes.map(String) : [],
      spec: value.spec ?? {},
    };
  });
  if (resources.length > 1 && resources.some(({ kind }) => kind === 'Resiliency')) {
    faults.push(
      `${path}: Dapr reads one document of a Resiliency file and ignores the rest. Give each its own file.`,
    );
  }
  return { resources, faults };
}

/** An app without one of these runs open, or without any deadline. */
function missingFaults({ topology, of }: LintContext): string[] {
  return topology.services.flatMap(({ name }) => [
    ...(of('Configuration').some((resource) => resource.name === name)
      ? []
      : [`dapr/${name}: there is no Configuration ${name}: anybody could call it. Run npm run generate.`]),
    ...(of('Resiliency').some(({ scopes }) => scopes.includes(name))
      ? []
      : [
          `dapr/${name}: no Resiliency is scoped to ${name}: nothing it does has a timeout. Run npm run generate.`,
        ]),
  ]);
}
