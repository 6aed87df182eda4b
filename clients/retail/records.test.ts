import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { collect } from '../testing/collect.ts';
import { type FileRecord, readRetailFile } from './records.ts';

/** The file in chunks of a few bytes, so that lines and characters are cut anywhere. */
function chunked(bytes: Buffer, size = 7): AsyncIterable<Buffer> {
  return Readable.from(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    ),
  );
}

async function recordsOf(text: string, columns = ['a', 'b', 'c']): Promise<FileRecord[]> {
  const file = await readRetailFile(chunked(Buffer.from(text, 'latin1')), 'FILE', columns);
  return collect(file.records);
}

const broken = (line: number, raw: string, fault = 'broken quotes') => ({ line, raw, fault });
const whole = (line: number, raw: string, a: string, b: string, c: string) => ({
  line,
  raw,
  fields: { a, b, c },
});

describe('a file of records', () => {
  test('is read by column name, with LF or CRLF, with or without a last line end, blank lines skipped', async () => {
    const expected = [whole(2, '1,2,3', '1', '2', '3'), whole(4, '4,5,6', '4', '5', '6')];
    expect(await recordsOf('a,b,c\n1,2,3\n\n4,5,6\n')).toEqual(expected);
    expect(await recordsOf('a,b,c\r\n1,2,3\r\n\r\n4,5,6')).toEqual(expected);
    const [swapped] = await recordsOf('c,x,b,a\n3,?,2,1\n');
    expect(swapped).toMatchObject({ fields: { a: '1', b: '2', c: '3' } });
  });

  test('is Latin-1, in which every byte is a character', async () => {
    expect(await recordsOf('a,b,c\n£,é,\x85\n')).toEqual([whole(2, '£,é,\x85', '£', 'é', '\x85')]);
  });

  test('is UTF-8 when it says so by a byte order mark', async () => {
    const file = await readRetailFile(chunked(Buffer.from('\uFEFFa,b,c\n£,é,日\n'), 5), 'FILE', ['a']);
    expect(file).toMatchObject({ encoding: 'utf8', header: 'a,b,c' });
    expect(await collect(file.records)).toEqual([whole(2, '£,é,日', '£', 'é', '日')]);
  });

  test('can have quotes, commas and line ends inside quotes', async () => {
    expect(await recordsOf('a,b,c\n1,"LETTER ""L"", RED",3\n1,"two\nlines",3\n7,8,9\n')).toEqual([
      whole(2, '1,"LETTER ""L"", RED",3', '1', 'LETTER "L", RED', '3'),
      whole(3, '1,"two\nlines",3', '1', 'two\nlines', '3'),
      whole(5, '7,8,9', '7', '8', '9'),
    ]);
  });
});

describe('a broken line costs only itself:', () => {
  test('a stray quote', async () => {
    expect(await recordsOf('a,b,c\n1,LETTER "L",3\n"x"y,5,6\n7,8,9\n')).toEqual([
      broken(2, '1,LETTER "L",3'),
      broken(3, '"x"y,5,6'),
      whole(4, '7,8,9', '7', '8', '9'),
    ]);
  });

  test('a quote that is never closed, with and without quotes further on', async () => {
    const rest = Array.from({ length: 50 }, () => '4,5,6').join('\n');
    for (const last of ['7,8,9', '7,"8",9', '7,"8,9']) {
      const records = await recordsOf(`a,b,c\n1,"oops,3\n${rest}\n${last}\n`);
      expect(records).toHaveLength(52);
      expect(records[0]).toEqual(broken(2, '1,"oops,3'));
      expect(records[1]).toEqual(whole(3, '4,5,6', '4', '5', '6'));
    }
  });

  test('too few and too many fields', async () => {
    expect(await recordsOf('a,b,c\n1,2\n1,2,3,4\n7,8,9\n')).toEqual([
      broken(2, '1,2', '2 fields where the header has 3'),
      broken(3, '1,2,3,4', '4 fields where the header has 3'),
      whole(4, '7,8,9', '7', '8', '9'),
    ]);
  });

  test('a line that does not end', async () => {
    const [long, next] = await recordsOf(`a,b,c\n${'x'.repeat(200_000)}\n7,8,9\n`);
    expect(long).toMatchObject({ line: 2, fault: 'line of more than 65536 characters' });
    expect(long?.raw.length).toBe(65_536);
    expect(next).toEqual(whole(3, '7,8,9', '7', '8', '9'));
  });
});

describe('a file that cannot be used is refused with what it lacks:', () => {
  test.each([
    ['', 'FILE lacks the columns a, b, c. Its first line must name the columns; found there: nothing.'],
    ['a,c\n', 'FILE lacks the column b.'],
    ['\x7fELF\x00\x01"', 'FILE lacks the columns'],
    ['a,b,c,a\n', 'FILE names the column a twice.'],
  ])('%j', async (text, message) => {
    await expect(recordsOf(text)).rejects.toThrow(message);
  });
});
