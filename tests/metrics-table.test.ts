import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { messagesDocument, metricsToAlertOn, tableOfMetrics } from './metrics-table.ts';

// What is not in the table of the document is a metric that nobody looks at; what is in it alone, one that is looked for in vain.
// That they have the values it tells of is in packages/messaging/src/metrics.int.test.ts.

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Metrics that some file there makes, without `sidecart_`. */
function made(folder = 'packages/messaging'): string[] {
  const files = globSync(`${folder}/src/**/*.ts`, {
    cwd: root,
    exclude: (name) => name.endsWith('.test.ts'),
  });
  const found = files.flatMap((file) => [
    ...readFileSync(join(root, file), 'utf8').matchAll(/\.(?:gauge|counter|histogram)\(\s*'sidecart_(\w+)'/g),
  ]);
  return found.map(([, name = '']) => name).sort();
}

const missingIn = (document: string) => {
  const told = tableOfMetrics(document);
  return made().filter((name) => !told.includes(name));
};
const toldInVainBy = (document: string) => {
  const names = made();
  return [...tableOfMetrics(document), ...metricsToAlertOn(document)].filter((name) => !names.includes(name));
};

test('every metric of messaging is in the table for who runs it', () => {
  expect(made().length).toBeGreaterThan(20);
  expect(missingIn(messagesDocument())).toEqual([]);
});

test('control: one that is not there is told', () => {
  expect(missingIn('| metric (`sidecart_...`) | |\n|---|---|\n| `dead_letters` | `broker_up` |\n')).toContain(
    'broker_up',
  );
});

test('every metric in the table and in what to alert on is made by some file', () => {
  expect(metricsToAlertOn(messagesDocument()).length).toBeGreaterThan(4);
  expect(toldInVainBy(messagesDocument())).toEqual([]);
});

test('control: one that is gone is told', () => {
  const document = messagesDocument()
    .replace('| `dead_letters` |', '| `gone_from_table`, `dead_letters` by type (`applied`) |')
    .replace('To alert on: ', 'To alert on: `gone_from_alerts`, ');
  expect(toldInVainBy(document)).toEqual(['gone_from_table', 'gone_from_alerts']);
});

test('whatever a document calls `sidecart_...` is a metric of some package or service', () => {
  const names = made('{packages,services}/*');
  const told = globSync('{README.md,docs/**/*.md}', { cwd: root }).flatMap((file) => [
    ...readFileSync(join(root, file), 'utf8').matchAll(/`sidecart_(\w+)`/g),
  ]);
  expect(told.length).toBeGreaterThan(3);
  expect(told.map(([, name = '']) => name).filter((name) => !names.includes(name))).toEqual([]);
});
