import { describe, expect, test } from 'vitest';
import { type Fields, record, TODAY } from '../testing/lines.ts';
import { FAULTS, isFaulty, readSaleLine } from './sale-line.ts';

const read = (fields: Fields) => readSaleLine(record(fields), TODAY);
const faultsOf = (fields: Fields) => {
  const line = read(fields);
  return isFaulty(line) ? line.faults : [];
};

test('a sale is read with its price in pence and its customer without the decimal', () => {
  expect(read({ description: '  TEA  CUP ' })).toEqual({
    line: 2,
    invoice: '500001',
    soldAt: '2010-12-01 09:00:00',
    customer: '70001',
    sku: '10001',
    name: 'TEA CUP',
    quantity: 6,
    price: 85,
  });
});

test('a quantity below zero and an unknown customer are no faults', () => {
  expect(read({ quantity: '-6', customer: '' })).toMatchObject({ quantity: -6, customer: undefined });
  expect(read({ customer: 'not known' })).toMatchObject({ customer: undefined });
});

describe('goods', () => {
  test.each(['10001', '85123A', '85123a', '15056BL', 'DCGS0004', 'DCGSSGIRL', 'SP1002', 'PADS', ' 10001 '])(
    '%j',
    (code) => {
      expect(faultsOf({ code })).toEqual([]);
    },
  );
  test('keep the case of their letters', () => {
    expect(read({ code: '85123a' })).toMatchObject({ sku: '85123a' });
  });
  test.each(['POST', 'M', 'm', 'D', 'C2', 'S', 'DOT', 'CRUK', 'BANK CHARGES', 'AMAZONFEE', 'gift_0001_20'])(
    '%j is none',
    (code) => {
      expect(faultsOf({ code })).toEqual(['no goods']);
    },
  );
  test.each(['', '1234', '123456', '12345-A', `12345${'A'.repeat(40)}`])('%j is none', (code) => {
    expect(faultsOf({ code })).toEqual(['no goods']);
  });
});

describe('faults', () => {
  test.each<[Fields, string]>([
    [{ description: '  ' }, 'no description'],
    [{ description: 'x'.repeat(201) }, 'description that cannot be a name'],
    [{ description: 'TEA\u0007CUP' }, 'description that cannot be a name'],
    [{ price: '0.0' }, 'no positive price'],
    [{ price: '-4.15' }, 'no positive price'],
    [{ price: '' }, 'no positive price'],
    [{ price: 'four' }, 'price that is no number'],
    [{ price: '0.001' }, 'fraction of a penny'],
    [{ price: '1000000.01' }, 'price above a million pounds'],
    [{ price: '9'.repeat(400) }, 'price above a million pounds'],
    [{ quantity: '' }, 'no quantity'],
    [{ quantity: '0' }, 'no quantity'],
    [{ quantity: '1.5' }, 'quantity that is no whole number'],
    [{ quantity: 'six' }, 'quantity that is no whole number'],
    [{ quantity: '100001' }, 'quantity above 100000'],
    [{ quantity: '-100001' }, 'quantity above 100000'],
    [{ date: '' }, 'no date as YYYY-MM-DD HH:MM:SS'],
    [{ date: '01/12/2010 08:26' }, 'no date as YYYY-MM-DD HH:MM:SS'],
    [{ date: '2011-02-29 09:00:00' }, 'no date as YYYY-MM-DD HH:MM:SS'],
    [{ date: '2011-02-28 24:00:00' }, 'no date as YYYY-MM-DD HH:MM:SS'],
    [{ date: '1899-12-31 09:00:00' }, 'date before 1900 or in the future'],
    [{ date: '2026-01-02 00:00:00' }, 'date before 1900 or in the future'],
    [{ invoice: '' }, 'no invoice number'],
    [{ invoice: '5 1' }, 'no invoice number'],
  ])('%j: %s', (fields, fault) => {
    expect(faultsOf(fields)).toEqual([fault]);
  });

  test('are all told, with what could be read', () => {
    expect(read({ code: 'M', description: '', price: '0.0', quantity: '-5' })).toEqual({
      line: 2,
      invoice: '500001',
      soldAt: '2010-12-01 09:00:00',
      customer: '70001',
      quantity: -5,
      faults: ['no goods', 'no description', 'no positive price'],
    });
  });

  test('are words that a CSV file can hold without quotes', () => {
    for (const fault of FAULTS) expect(fault).not.toMatch(/[",;\n]/);
  });
});
