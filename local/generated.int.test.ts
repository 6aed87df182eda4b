import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { streamsFile } from '../generator/broker.ts';
import { loadTopology, parseTopology } from '../generator/topology.ts';
import { filesToRun, outdatedFiles } from './generated.ts';
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

/** The table as it is, but for another broker and one more edit. */
const tableWith = (broker: string, [from, to]: [string, string] = ['', '']) => {
  expect(table).toContain(from);
  return parseTopology(table.replace(/^broker: \S+/m, `broker: ${broker}`).replace(from, to));
};
/** Of inventory's topic. */
const LANES: [string, string] = ['topic: { lanes: 2 }', 'topic: { lanes: 1 }'];
const CURE = 'To change that: npm run generate';
/** What is said when the services' table alone differs. */
const SERVICES_OUTDATED = `generated files are not those of topology.yaml, and run as they are: ${SERVICES_TABLE} differs. Cure: npm run generate, then start again`;

test('the files of the checkout are run when they are those of the broker in the table', () => {
  const root = checkout();
  expect(filesToRun(topology, topology, testFolder(), root)).toEqual({ generated: root });
});

test('where only the broker in the table was changed, what is run is made for it elsewhere, and that is told', () => {
  const [root, folder] = [checkout(), testFolder()];
  const redis = tableWith('redis');
  expect(filesToRun(redis, redis, folder, root)).toEqual({
    generated: folder,
    notice: `topology.yaml names redis, and components/ and dapr/ are still those of jetstream. What is run is in ${folder}. ${CURE}`,
  });
  expect(readFileSync(join(folder, 'components/pubsub-orders-0.yaml'), 'utf8')).toContain('pubsub.redis');
  expect(outdatedFiles(redis, folder, root)).toBeUndefined();
  expect(outdatedFiles(topology, root, root)).toBeUndefined();
});

test('files of another broker that were left over are told as such, whichever of the two the table names', () => {
  const [root, folder] = [checkout(), testFolder()];
  writeFileSync(join(root, streamsFile('redis')), '');
  for (const [broker, other] of [['jetstream', 'redis'] as const, ['redis', 'jetstream'] as const]) {
    const named = tableWith(broker);
    expect(filesToRun(named, named, folder, root)).toEqual({
      generated: folder,
      notice: `${streamsFile(other)} is left over beside that of ${broker}, so that nothing says whose components/ and dapr/ are. What is run is in ${folder}. ${CURE}`,
    });
  }
  rmSync(join(root, streamsFile('jetstream')));
  const redis = tableWith('redis');
  expect(filesToRun(redis, redis, folder, root)).toEqual({ generated: root });
  rmSync(join(root, streamsFile('redis')));
  expect(filesToRun(redis, redis, folder, root).notice).toContain(
    `there is no ${streamsFile('redis')} to say`,
  );
});

test('an edit beside the changed broker is told: the services run on the table as it was generated', () => {
  const [root, folder] = [checkout(), testFolder()];
  const edited = tableWith('redis', LANES);
  expect(filesToRun(edited, edited, folder, root).generated).toBe(folder);
  expect(outdatedFiles(edited, folder, root)).toBe(SERVICES_OUTDATED);
});

test('so is one where the broker is chosen for one start, which needs no notice itself', () => {
  const [root, folder] = [checkout(), testFolder()];
  for (const [edit, told] of [[undefined, undefined] as const, [LANES, SERVICES_OUTDATED] as const]) {
    const chosen = tableWith('redis', edit);
    expect(filesToRun(chosen, topology, folder, root)).toEqual({ generated: folder });
    expect(outdatedFiles(chosen, folder, root)).toBe(told);
  }
});

test('files as the generator makes them are not worth a word', () => {
  const root = checkout();
  expect(outdatedFiles(topology, root, root)).toBeUndefined();
});

test('an edit of the table without npm run generate is told, with the files and the cure', () => {
  const root = checkout();
  const edited = parseTopology(table.replace('timeout: 800ms', 'timeout: 900ms'));
  expect(outdatedFiles(edited, root, root)).toBe(SERVICES_OUTDATED);
});

test('so is an edit of a generated file, one that is missing and one too many', () => {
  const root = checkout();
  const component = join(root, 'components/pubsub-orders-0.yaml');
  writeFileSync(component, readFileSync(component, 'utf8').replace('jetstream', 'jetstrem'));
  writeFileSync(join(dirname(component), 'own.yaml'), '');
  const more = parseTopology(`${table}\n  late-joiner: { port: 8155, database: false, replicas: 1 }\n`);
  expect(outdatedFiles(topology, root, root)).toContain(
    'components/pubsub-orders-0.yaml differs, components/own.yaml is left over. Cure',
  );
  expect(outdatedFiles(more, root, root)).toMatch(/is missing.* more\. Cure: npm run generate/);
});
