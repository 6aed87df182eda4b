import { DomainError } from '@sidecart/kit/domain-error';
import { describe, expect, test } from 'vitest';
import { createProduct, dated, isSameCreation, type Product, retire, setPrice } from './product.ts';

const at = '2026-03-14T09:26:53.589Z';
const gbp = (amount: number) => ({ amount, currency: 'GBP' as const });
const heart: Product = {
  sku: 'HEART',
  name: 'White hanging heart',
  status: 'active',
  version: 3,
  current: { unitPrice: gbp(255), effectiveOn: '2026-03-01' },
};
const price = (amount: number, effectiveOn: string) => ({ unitPrice: gbp(amount), effectiveOn });

describe('creating', () => {
  test('gives version 1 with a price from today (UTC) on', () => {
    expect(createProduct('HEART', 'White hanging heart', { unitPrice: gbp(255) }, at)).toEqual({
      type: 'ProductCreated',
      sku: 'HEART',
      name: 'White hanging heart',
      price: price(255, '2026-03-14'),
      version: 1,
      at,
    });
  });

  test('with a day that has not come is refused', () => {
    const create = () => createProduct('X', 'X', { unitPrice: gbp(1), effectiveOn: '2026-03-15' }, at);
    expect(create).toThrowError(DomainError);
    expect(create).toThrowError('validation_failed');
  });

  test.each([
    ['the same', heart.name, 255, undefined, true],
    ['the same with its day', heart.name, 255, '2026-01-01', true],
    ['another day', heart.name, 255, '2026-01-02', false],
    ['another name', 'Red heart', 255, undefined, false],
    ['another price', heart.name, 256, undefined, false],
  ])('again with %s', (_, name, amount, effectiveOn, same) => {
    const first = price(255, '2026-01-01');
    expect(isSameCreation(heart, first, name, { unitPrice: gbp(amount), effectiveOn })).toBe(same);
  });

  test('again counts as the same after the price has changed', () => {
    const changed = { ...heart, current: price(999, '2026-03-14') };
    expect(isSameCreation(changed, price(255, '2026-01-01'), heart.name, { unitPrice: gbp(255) })).toBe(true);
  });
});

describe('setting a price', () => {
  test('from a later day on makes it the current one', () => {
    expect(setPrice(heart, price(295, '2026-03-14'), undefined, at)).toEqual([
      {
        type: 'ProductPriceChanged',
        sku: 'HEART',
        price: price(295, '2026-03-14'),
        previous: gbp(255),
        isCurrent: true,
        version: 4,
        at,
      },
    ]);
  });

  test('for the day of the current one replaces it', () => {
    expect(setPrice(heart, price(260, '2026-03-01'), gbp(255), at)).toMatchObject([
      { isCurrent: true, version: 4 },
    ]);
  });

  test('for an earlier day is recorded, and is not the current one', () => {
    expect(setPrice(heart, price(199, '2026-02-28'), undefined, at)).toMatchObject([
      { isCurrent: false, previous: gbp(255), version: 4 },
    ]);
  });

  test('to what that day has already changes nothing', () => {
    expect(setPrice(heart, price(255, '2026-03-01'), gbp(255), at)).toEqual([]);
    expect(setPrice({ ...heart, status: 'retired' }, price(199, '2026-02-01'), gbp(199), at)).toEqual([]);
  });

  test('to the current price, for a day that has none yet, is recorded', () => {
    expect(setPrice(heart, price(255, '2026-03-14'), undefined, at)).toHaveLength(1);
  });

  test('of a retired product is refused', () => {
    const change = () => setPrice({ ...heart, status: 'retired' }, price(1, '2026-03-14'), undefined, at);
    expect(change).toThrowError('product_not_changeable');
  });

  test('today is fine, tomorrow is not, whatever the hour', () => {
    const lateAt = '2026-03-14T23:59:59.999Z';
    expect(dated({ unitPrice: gbp(1), effectiveOn: '2026-03-14' }, lateAt)).toEqual(price(1, '2026-03-14'));
    expect(() => dated({ unitPrice: gbp(1), effectiveOn: '2026-03-15' }, lateAt)).toThrowError(DomainError);
  });
});

test('retiring counts the version up, and once is enough', () => {
  expect(retire(heart, at)).toEqual([{ type: 'ProductRetired', sku: 'HEART', version: 4, at }]);
  expect(retire({ ...heart, status: 'retired' }, at)).toEqual([]);
});
