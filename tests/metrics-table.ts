import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The document for who runs messaging. */
export function messagesDocument(): string {
  return readFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs/messages.md'), 'utf8');
}

/** Names in backticks; not those in brackets, which are values of labels. */
const namesIn = (text: string) =>
  [...text.replaceAll(/\([^)]*\)/g, '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name);

/** The metrics in the table of such a document, without `sidecart_`. */
export function tableOfMetrics(document: string): string[] {
  const [, rows = ''] = /^\| metric \(`sidecart_\.\.\.`\) .*\n\|.*\n((?:\|.*\n)+)/m.exec(document) ?? [];
  return rows.split('\n').flatMap((row) => namesIn(row.split('|')[1] ?? ''));
}

/** The metrics that such a document tells to watch, without `sidecart_`. */
export function metricsToAlertOn(document: string): string[] {
  return namesIn(/^To alert on: .*$/m.exec(document)?.[0] ?? '');
}
