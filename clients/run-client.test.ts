import { expect, test } from 'vitest';
import { readArguments } from './run-client.ts';

const CALL = { usage: 'Usage: it', takesFile: true, options: ['limit'], whenStopped: 'Stopped.' };

test('a file and options are read, in any order', () => {
  expect(readArguments(CALL, ['--limit', '5', 'a.csv', '--url=http://x'])).toEqual({
    file: 'a.csv',
    options: { limit: '5', url: 'http://x' },
  });
});

test('help is no fault', () => {
  expect(readArguments(CALL, ['--help'])).toEqual({ say: 'Usage: it', exitCode: 0 });
});

test.each([[[]], [['a.csv', 'b.csv']], [['a.csv', '--lmit', '5']], [['a.csv', '--limit']]])(
  '%j is told what is wrong, and the usage',
  (argv) => {
    const said = readArguments(CALL, argv);
    expect(said).toMatchObject({ exitCode: 2, say: expect.stringContaining('Usage: it') });
  },
);

test('a client without a file takes none', () => {
  const call = { ...CALL, takesFile: false };
  expect(readArguments(call, [])).toEqual({ file: '', options: {} });
  expect(readArguments(call, ['a.csv'])).toMatchObject({ exitCode: 2 });
});
