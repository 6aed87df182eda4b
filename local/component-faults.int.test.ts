import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { componentFaults, lengthOf, noWayThrough } from './component-faults.ts';
import { testFolder } from './testing.ts';

/** As daprd 1.18.3 says it. */
const unknownType =
  "Ignoring error processing component: process component pubsub-orders-0 error: [INIT_COMPONENT_FAILURE]: initialization error occurred for pubsub-orders-0 (pubsub.jetstrem/v1): [CREATE_COMPONENT_FAILURE]: initialization error occurred for pubsub-orders-0 (pubsub.jetstrem/v1): couldn't find message bus pubsub.jetstrem/v1";
const line = (msg: string) => `${JSON.stringify({ app_id: 'orders', level: 'error', msg, type: 'log' })}\n`;

function rig(header = '') {
  const folder = testFolder();
  const components = join(folder, 'components');
  mkdirSync(components);
  const file = join(components, 'other-name.yaml');
  writeFileSync(file, `${header}kind: Component\nmetadata:\n  name: pubsub-orders-0\n`);
  const sidecars = ['orders', 'inventory'].map((app) => {
    const logFile = join(folder, `${app}-dapr.log`);
    writeFileSync(logFile, line(unknownType.replace('pubsub-orders-0', 'pubsub-long-ago')));
    return { app, logFile, from: lengthOf(logFile) };
  });
  return {
    file,
    sidecars,
    say: (msg: string) => sidecars.forEach(({ logFile }) => void appendFileSync(logFile, line(msg))),
    faults: () => componentFaults(sidecars, components),
  };
}

test('a component that sidecars could not load is told once, with its file and the cure; one of an earlier start is not', () => {
  const { file, say, faults } = rig();
  say('component loaded. name: pubsub-orders-1, type: pubsub.jetstream/v1');
  expect(faults()).toEqual([]);
  say(unknownType);
  say(unknownType);
  expect(faults()).toEqual([
    `pubsub-orders-0 could not be loaded by the sidecars of inventory, orders: couldn't find message bus pubsub.jetstrem/v1. Cure: correct ${file}, then start again`,
  ]);
});

test('for one that is generated the cure is to make it anew', () => {
  const { file, say, faults } = rig('# Generated from topology.yaml by `npm run generate`. Do not edit.\n');
  say(unknownType);
  expect(faults()[0]).toContain(
    `Cure: in ${file} correct what was edited, or make it anew from topology.yaml by \`npm run generate\``,
  );
});

test('a file that is no YAML is told by its path', () => {
  const { file, say, faults } = rig();
  say(
    `daprd load Component error when parsing manifests yaml resource in ${file}: yaml: line 3: mapping values`,
  );
  expect(faults()).toEqual([
    `${file} could not be loaded by the sidecars of inventory, orders: yaml: line 3: mapping values. Cure: correct ${file}, then start again`,
  ]);
});

test('a file that cannot be read hides no fault of another', () => {
  const { file, say, faults } = rig();
  writeFileSync(join(dirname(file), 'alias.yaml'), 'metadata:\n  value: *nowhere\n');
  say(unknownType);
  expect(faults()[0]).toContain(`Cure: correct ${file}, then start again`);
});

test('a log that is not there yet, or was set aside because it had grown large, is read from its beginning', () => {
  const { sidecars, say, faults } = rig();
  expect(lengthOf(`${sidecars[0]?.logFile}.none`)).toBe(0);
  for (const sidecar of sidecars) {
    sidecar.from = 1_000_000;
    writeFileSync(sidecar.logFile, '');
  }
  say(unknownType);
  expect(faults()).toHaveLength(1);
});

test('a start that ends for want of a subscription says the faults of components once more', () => {
  const { say, faults } = rig();
  expect(noWayThrough(new Error('no subscriber'), faults(), '/logs')).toMatchObject({
    message: 'no subscriber',
    cure: 'see the logs in /logs',
  });
  say(unknownType);
  const error = noWayThrough(new Error('no subscriber'), faults(), '/logs');
  expect(error.message.split('\n')).toEqual(['no subscriber', ...faults()]);
  expect(error.cure).toBe('first that of each component; the logs are in /logs');
});
