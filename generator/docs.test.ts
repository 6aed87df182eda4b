import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { topologyDocument } from './docs.ts';
import { loadTopology } from './topology.ts';

const topology = loadTopology(join(dirname(dirname(fileURLToPath(import.meta.url))), 'topology.yaml'));
const [, picture = ''] = topologyDocument(topology).content.split('```');
const lines = picture.split('\n').map((line) => line.trim());

test('the picture has each edge once: calls, repairs, messages by way of a topic and those to oneself', () => {
  const calls = topology.calls.map(({ caller, callee, repairs }) =>
    repairs === undefined ? `${caller} --> ${callee}` : `${caller} -. "fetches what it misses" .-> ${callee}`,
  );
  const messages = topology.topics.flatMap(({ stream, publishers, consumers }) => [
    ...publishers.map((app) => `${app} -.-> topic-${stream}`),
    ...consumers.map((app) => `topic-${stream} -.-> ${app}`),
  ]);
  for (const edge of [...calls, ...messages, 'orders -.-> orders'])
    expect(lines.filter((line) => line === edge)).toEqual([edge]);
  expect(calls).toContain('inventory -. "fetches what it misses" .-> products');
});
