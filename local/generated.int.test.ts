import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { streamsFile } from '../generator/broker.ts';
import { loadTopology, parseTopology } from '../generator/topology.ts';
import { isGeneratedFor, outdatedFiles } from './generated.ts';
import { CHECKOUT } from './run-paths.ts';
import { testFolder } from './testing.ts';

const SERVICES_TABLE = 'packages/contracts/src/topology.generated.ts';
const table = readFileSync(join(CHECKOUT, 'topology.yaml'), 'utf8');
const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));

function checkout(): string {
  const root = testFolder();
  for (const path of ['components', 'dapr', SERVICES_TABLE])
    cpSync(join(CHECKOUT, path), join(root, path), { recursive: true });
  return root;
}

test('where only the broker in the table was changed, or files of another were left, the checkout is not taken as it is', () => {
  const root = checkout();
  expect(isGeneratedFor('jetstream', root)).toBe(true);
  expect(isGeneratedFor('redis', root)).toBe(false);
  writeFileSync(join(root, streamsFile('redis')), '');
  expect(isGeneratedFor('redis', root)).toBe(false);
  renameSync(join(root, streamsFile('jetstream')), join(root, 'gone'));
  expect(isGeneratedFor('redis', root)).toBe(true);
});

test('files as the generator makes them are not worth a word', () => {
  expect(outdatedFiles(topology, checkout())).toBeUndefined();
});

test('an edit of the table without npm run generate is told, with the files and the cure', () => {
  const edited = parseTopology(table.replace('timeout: 800ms', 'timeout: 900ms'));
  expect(outdatedFiles(edited, checkout())).toBe(
    `generated files are not those of topology.yaml, and run as they are: ${SERVICES_TABLE} differs. Cure: npm run generate, then start again`,
  );
});

test('so is an edit of a generated file, one that is missing and one too many', () => {
  const root = checkout();
  const component = join(root, 'components/pubsub-orders-0.yaml');
  writeFileSync(component, readFileSync(component, 'utf8').replace('jetstream', 'jetstrem'));
  writeFileSync(join(dirname(component), 'own.yaml'), '');
  const more = parseTopology(`${table}\n  late-joiner: { port: 8155, database: false, replicas: 1 }\n`);
  expect(outdatedFiles(topology, root)).toContain(
    'components/pubsub-orders-0.yaml differs, components/own.yaml is left over. Cure',
  );
  expect(outdatedFiles(more, root)).toMatch(/is missing.* more\. Cure: npm run generate/);
});
