import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

// The document says which test shows what. It goes stale in silence when a test is renamed: here that is told.

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const document = readFileSync(join(root, 'docs/hard-cases.md'), 'utf8');
const sourceOf = (path: string) =>
  existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : undefined;

/** A title in a comment is no test. */
const withoutComments = (source: string) => source.replace(/^\s*(\/\/|\/\*|\*).*$/gm, '');

/** A test file as the document names it, and behind it the tests in it that are meant: `a.test.ts` ("one"), or `a.test.ts`, "one". */
const NAMED = /`([\w./-]+\.test\.ts)`(?:,? \(?"([^"]+)")?/g;
/** How such a test begins; a control that is no test of its own says what `the tests check`. */
const CONTROL = /['"`]control: /;
/** `src` is `packages/messaging/src`. */
const SHORT = /`(\w+)` is `([\w/-]+)`/g;

function faultsIn(text: string, read: (path: string) => string | undefined): string[] {
  const source = (path: string) => {
    const content = read(path);
    return content === undefined ? undefined : withoutComments(content);
  };
  const short = new Map([...text.matchAll(SHORT)].map(([, name = '', folder = '']) => [name, folder]));
  const full = (path: string) => path.replace(/^\w+/, (first) => short.get(first) ?? first);
  const named = [...text.matchAll(NAMED)].flatMap(([, path = '', title]) => {
    const content = source(full(path));
    if (content === undefined) return [`there is no ${full(path)}`];
    return title === undefined || content.includes(title) ? [] : [`${full(path)} has no test "${title}"`];
  });
  const withoutControl = (cells: string) => {
    const found = [...cells.matchAll(NAMED)].flatMap(([, path = '']) => source(full(path)) ?? []);
    return found.length > 0 && !found.some((content) => CONTROL.test(content));
  };
  const rows = text.split('\n').filter((line) => /^\| \d+ \|/.test(line));
  const cases = rows.flatMap((row, index) => {
    const [, number = '', , , shownBy = '', control = ''] = row.split(/ *\| */);
    return [
      ...(Number(number) === index + 1 ? [] : [`case ${number} stands where ${index + 1} should`]),
      ...(shownBy.match(NAMED) ? [] : [`case ${number} names no test`]),
      ...(control === '' ? [`case ${number} has no control`] : []),
      ...(!control.startsWith('the tests check') && withoutControl(shownBy + control)
        ? [`case ${number} names no file with a control`]
        : []),
    ];
  });
  return [...named, ...cases];
}

test('each of the 25 hard cases names tests that exist, and its control, which is among them', () => {
  expect(document.match(/^\| \d+ \|/gm)).toHaveLength(25);
  expect(faultsIn(document, sourceOf)).toEqual([]);
});

test.each([
  ['a file that is gone', '`src/a.test.ts`', '`src/b.test.ts`', 'there is no packages/x/src/b.test.ts'],
  ['a test that has another name', '("one")', '("two")', 'packages/x/src/a.test.ts has no test "two"'],
  [
    'a test that is only in a comment',
    '("one")',
    '("was one")',
    'packages/x/src/a.test.ts has no test "was one"',
  ],
  ['a case without a test', '`src/a.test.ts` ("one")', 'by hand', 'case 1 names no test'],
  ['a case without a control', 'it fails', '', 'case 1 has no control'],
  ['a control that is in none of its files', 'src/a', 'src/c', 'case 1 names no file with a control'],
  ['a case that is missing', '| 1 |', '| 2 |', 'case 2 stands where 1 should'],
])('control: %s is told', (_, good, bad, fault) => {
  const text = '`src` is `packages/x/src`\n| 1 | a case | promised | `src/a.test.ts` ("one") | it fails |';
  const sources = new Map([
    ['packages/x/src/a.test.ts', "// was one\ntest('one'); test('control: it fails')"],
    ['packages/x/src/c.test.ts', "test('one')"],
  ]);
  const source = (path: string) => sources.get(path);
  expect(faultsIn(text, source)).toEqual([]);
  expect(faultsIn(text.replace(good, bad), source)).toEqual([fault]);
});
