import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRetailFile } from '../retail/records.ts';
import { collect } from '../testing/collect.ts';
import { createRejectFile, rejectPath } from './rejects.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sidecart-rejects-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('the reject file is named after the input and lies in the folder given', () => {
  expect(rejectPath('/data/sales.csv', '/home/me')).toBe('/home/me/sales.rejects.csv');
  expect(rejectPath('/data/sales', '/home/me')).toBe('/home/me/sales.rejects.csv');
  expect(rejectPath('/data/sales.rejects.csv', '/data')).toBe('/data/sales.rejects.rejects.csv');
});

test('it holds the records as they stand in the input, byte for byte, and can be read again', async () => {
  const input = join(dir, 'sales.csv');
  const raw = '1,"£ ""SIGN"", RED"';
  await writeFile(input, `a,b\n${raw}\n`, 'latin1');
  const file = await openRetailFile(input, ['a', 'b']);
  const rejects = await createRejectFile(join(dir, 'sales.rejects.csv'), input, file);
  await rejects.add(2, ['no goods', 'no description'], raw);
  await rejects.add(3, ['broken quotes'], '1,"x');
  await rejects.close();

  expect(await readFile(rejects.path, 'latin1')).toBe(
    `Line,Reason,a,b\n2,no goods; no description,${raw}\n3,broken quotes,1,"x\n`,
  );
  const again = await openRetailFile(rejects.path, ['a', 'b']);
  const [first, second] = await collect(again.records);
  expect(first).toMatchObject({ fields: { a: '1', b: '£ "SIGN", RED' } });
  expect(second).toMatchObject({ fault: 'broken quotes' });
});

test('a second run begins it anew', async () => {
  const input = join(dir, 'sales.csv');
  await writeFile(input, 'a\n');
  const path = join(dir, 'sales.rejects.csv');
  for (let run = 0; run < 2; run++) {
    const rejects = await createRejectFile(path, input, { header: 'a', encoding: 'latin1' });
    await rejects.add(2, ['no goods'], '1');
    await rejects.close();
  }
  expect(await readFile(path, 'latin1')).toBe('Line,Reason,a\n2,no goods,1\n');
});

test('the input is never written over, also not through a link', async () => {
  const input = join(dir, 'sales.csv');
  await writeFile(input, 'a\n1\n');
  await symlink(input, join(dir, 'link.csv'));
  for (const path of [input, join(dir, 'link.csv')]) {
    const creating = createRejectFile(path, input, { header: 'a', encoding: 'latin1' });
    await expect(creating).rejects.toThrow('written over');
  }
  expect(await readFile(input, 'utf8')).toBe('a\n1\n');
});

test('a folder that cannot be written to is told', async () => {
  const input = join(dir, 'sales.csv');
  await writeFile(input, 'a\n');
  const creating = createRejectFile(join(dir, 'none', 'x.csv'), input, { header: 'a', encoding: 'latin1' });
  await expect(creating).rejects.toThrow('--rejects');
});

test('a file that cannot be read is told', async () => {
  await expect(openRetailFile(join(dir, 'none.csv'), ['a'])).rejects.toThrow('Cannot read');
  await expect(openRetailFile(dir, ['a'])).rejects.toThrow('Cannot read');
});
