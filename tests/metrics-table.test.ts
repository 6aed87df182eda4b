import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// What is not in the table of the document is a metric that nobody looks at.

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'packages/messaging/src');

/** Metrics that some file of the package makes. */
function made(): string[] {
  const files = readdirSync(source).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  const found = files.flatMap((file) => [
    ...readFileSync(join(source, file), 'utf8').matchAll(
      /\.(?:gauge|counter|histogram)\(\s*'sidecart_(\w+)'/g,
    ),
  ]);
  return found.map(([, name = '']) => name).sort();
}

const missingIn = (text: string) => made().filter((name) => !text.includes(`\`${name}\``));

test('every metric of messaging is in the document for who runs it', () => {
  expect(made().length).toBeGreaterThan(20);
  expect(missingIn(readFileSync(join(root, 'docs/messages.md'), 'utf8'))).toEqual([]);
});

test('control: one that is not there is told', () => {
  expect(missingIn('`dead_letters`')).toContain('broker_up');
});
