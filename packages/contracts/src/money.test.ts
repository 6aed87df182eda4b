import { expect, test } from 'vitest';
import { Quantity } from './common.ts';
import { addMoney, gbp, Money, multiplyMoney, sameMoney, UnitPrice } from './money.ts';
import { NewOrder } from './orders.ts';

test('amounts are added and multiplied in pence', () => {
  expect(addMoney([gbp(199), gbp(1)])).toEqual({ amount: 200, currency: 'GBP' });
  expect(addMoney([])).toEqual(gbp(0));
  expect(multiplyMoney(gbp(255), 6)).toEqual(gbp(1530));
  expect(sameMoney(gbp(1), gbp(1))).toBe(true);
  expect(sameMoney(gbp(1), gbp(2))).toBe(false);
});

test.each([1.5, -1, Number.NaN, Number.MAX_SAFE_INTEGER + 1])('%s is no amount', (amount) => {
  expect(Money.safeParse({ amount, currency: 'GBP' }).success).toBe(false);
  expect(() => gbp(amount)).toThrow(RangeError);
});

test('what a double cannot count is refused, not rounded', () => {
  expect(() => addMoney([gbp(Number.MAX_SAFE_INTEGER), gbp(1)])).toThrow(RangeError);
  expect(() => multiplyMoney(gbp(Number.MAX_SAFE_INTEGER), 2)).toThrow(RangeError);
});

test('the largest order there can be is counted exactly', () => {
  const line = { sku: 'A', quantity: 100_000, unit_price: gbp(100_000_000) };
  const order = { lines: Array(500).fill(line) };
  expect(NewOrder.safeParse(order).success).toBe(true);
  expect(NewOrder.safeParse({ lines: [...order.lines, line] }).success).toBe(false);
  expect(Quantity.safeParse(line.quantity + 1).success).toBe(false);
  expect(UnitPrice.safeParse(gbp(line.unit_price.amount + 1)).success).toBe(false);
  expect(addMoney(order.lines.map((l) => multiplyMoney(l.unit_price, l.quantity)))).toEqual(gbp(5e15));
});

test('a price is above zero, in the one currency, and nothing else', () => {
  expect(UnitPrice.safeParse(gbp(1)).success).toBe(true);
  expect(UnitPrice.safeParse(gbp(0)).success).toBe(false);
  expect(UnitPrice.safeParse({ amount: 1, currency: 'EUR' }).success).toBe(false);
  expect(UnitPrice.safeParse({ ...gbp(1), per: 'dozen' }).success).toBe(false);
});
