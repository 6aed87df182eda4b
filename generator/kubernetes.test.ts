import { expect, test } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { loadBroker } from './broker.ts';
import { daprOutputs } from './dapr-outputs.ts';
import { kubernetesOutputs } from './kubernetes.ts';
import type { Output } from './output.ts';
import { loadTopology } from './topology.ts';

const topology = loadTopology('topology.yaml');
const dapr = daprOutputs(topology, loadBroker('.', topology.broker));

/** What stands in the pods' template for all that the sidecar of each service reads. */
function hashes(files: Output[]): Record<string, string> {
  const outputs = kubernetesOutputs(topology, files);
  return Object.fromEntries(
    topology.services.map(({ name }) => {
      const file = outputs.find(({ path }) => path === `k8s/base/${name}/service.yaml`);
      return [name, parse(file?.content ?? '').data.dapr];
    }),
  );
}

const documents = ({ content }: Output) =>
  parseAllDocuments(content).map((document) => document.toJS() as Record<string, unknown>);

/** Who loads it: those it is scoped to, or the one it is called after. */
const readers = (file: Output) =>
  documents(file).flatMap(({ scopes, metadata }) => scopes ?? [(metadata as { name: string }).name]);

const KINDS = ['Component', 'Configuration', 'Subscription', 'Resiliency', 'HTTPEndpoint'];
const before = hashes(dapr);

test('sidecars load these kinds, and no other', () => {
  // Without a kind: what platform makes of the broker's streams.
  const kinds = dapr.flatMap(documents).flatMap(({ kind }) => kind ?? []);
  expect(new Set(kinds)).toEqual(new Set([...KINDS, 'Kustomization']));
});

test.each(KINDS)('another %s makes new pods of those whose sidecars load it, and of no other', (kind) => {
  const file = dapr.findLast((one) => documents(one).some((document) => document.kind === kind)) as Output;
  const changed = documents(file).map((document) => stringify({ ...document, spec: { changed: true } }));
  const after = hashes(dapr.map((one) => (one === file ? { ...file, content: changed.join('---\n') } : one)));
  const renewed = topology.services.map(({ name }) => name).filter((name) => after[name] !== before[name]);
  expect(renewed.sort()).toEqual([...new Set(readers(file))].sort());
});
