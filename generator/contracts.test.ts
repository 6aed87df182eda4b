import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { catalogFaults, contractOutputs } from './contracts.ts';
import { eventsDocument } from './docs.ts';
import { loadTopology } from './topology.ts';

const topology = loadTopology(join(dirname(dirname(fileURLToPath(import.meta.url))), 'topology.yaml'));

test('the catalogue fits the table, though what a service sends to itself is in no row of it', () => {
  expect(catalogFaults(topology)).toEqual([]);
});

test('a message to oneself of a service that the table does not have, or has without a database, is found', () => {
  const without = topology.services.filter(({ name }) => name !== 'orders');
  const bare = topology.services.map((row) => (row.name === 'orders' ? { ...row, database: false } : row));
  for (const services of [without, bare])
    expect(catalogFaults({ ...topology, services })).toEqual(
      ['CheckoutStepOverdue', 'CancelOverdueOrder'].map((type) =>
        expect.stringContaining(`orders sends ${type} to itself`),
      ),
    );
});

test('a message to oneself has a schema and a place among the events, and is nothing that a broker carries', () => {
  const outputs = contractOutputs(topology);
  const asyncApi = outputs.find(({ path }) => path.endsWith('asyncapi.yaml'))?.content;
  expect(outputs.map(({ path }) => path)).toContain('packages/contracts/schemas/CheckoutStepOverdue.json');
  expect(asyncApi).toContain('ReserveStock');
  expect(asyncApi).not.toContain('CheckoutStepOverdue');
  expect(eventsDocument(topology).content).toMatch(/## orders to itself\n[^#]*CheckoutStepOverdue/);
});
