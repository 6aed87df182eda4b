import { expect, test } from 'vitest';
import { catalog } from './catalog.ts';
import { NewReceipt } from './inventory.ts';
import { CancelOrder, NewOrder } from './orders.ts';
import { NewPrice, NewProduct, QuoteRequest } from './products.ts';

const order_id = 'ord_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';

test('a message about an order is keyed by it, one about a product by its SKU', () => {
  expect(catalog.ReserveStock.key({ order_id, lines: [] })).toBe(order_id);
  expect(catalog.ProductRetired.key({ sku: '85123A', version: 3 })).toBe('85123A');
});

test('facts go to the topic of their owner, commands to the queue of their taker', () => {
  expect(catalog.StockReserved).toMatchObject({ topic: 'inventory', kind: 'fact' });
  expect(catalog.ReserveStock).toMatchObject({ topic: 'commands.inventory', kind: 'command' });
});

test('what a service sends to itself has no topic of the table, and says whose it is', () => {
  expect(catalog.CancelOverdueOrder).toMatchObject({ topic: 'self', service: 'orders', kind: 'command' });
  expect(catalog.CancelOverdueOrder.key({ order_id })).toBe(order_id);
});

test('a reader ignores what a sender adds later', () => {
  const read = catalog.ReleaseStock.schema.parse({ order_id, reason: 'late', by: 'the customer' });
  expect(read).toEqual({ order_id, reason: 'late' });
});

const line = { sku: 'A', quantity: 1 };
const price = { amount: 1, currency: 'GBP' };
test.each([
  ['NewProduct', NewProduct, { sku: 'A', name: 'A', unit_price: price }],
  ['NewPrice', NewPrice, { unit_price: price }],
  ['QuoteRequest', QuoteRequest, { skus: ['A'] }],
  ['NewReceipt', NewReceipt, { lines: [line] }],
  ['NewOrder', NewOrder, { lines: [{ ...line, unit_price: price }] }],
  ['CancelOrder', CancelOrder, {}],
])('what a client sends as %s has no unknown field', (_, schema, body) => {
  expect(schema.safeParse(body).success).toBe(true);
  expect(schema.safeParse({ ...body, colour: 'red' }).success).toBe(false);
});
