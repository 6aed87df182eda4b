import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { operatorCommand } from './operator.ts';
import {
  call,
  callThrough,
  orderEnds,
  orderStatus,
  placeOrder,
  productWithStock,
  query,
  stockOf,
  type Target,
  until,
} from './shop.ts';

let shop: Target & { runDir?: string };
let folder: string;
beforeAll(async () => {
  shop = await openShop();
  folder = await mkdtemp(join(tmpdir(), 'sidecart-dlq-'));
});
afterAll(async () => {
  // On a cluster other tests use the same shop, and look for dead letters in any state.
  for (const service of ['inventory', 'orders'])
    for (const table of ['dead_letter_action', 'dead_letter'])
      await query(shop, service, `DELETE FROM ${table}`);
  await shop?.stop();
  await rm(folder, { recursive: true });
});

const dlq = operatorCommand('dlq', () => shop);

/** A command to inventory as from orders, about an order that orders does not know. */
async function sendCommand(type: string, orderId: string, sequence: string, data: object): Promise<void> {
  const event = {
    specversion: '1.0',
    id: randomUUID(),
    source: '/sidecart/orders',
    type,
    datacontenttype: 'application/json',
    partitionkey: orderId,
    sequence,
    data: { order_id: orderId, ...data },
  };
  const [component] = shop.components('commands.inventory');
  const answer = await callThrough(shop, 'orders', `/v1.0/publish/${component}/commands.inventory`, {
    method: 'POST',
    body: event,
    headers: { 'content-type': 'application/cloudevents+json' },
  });
  expect(answer.status).toBe(204);
}

test('what inventory cannot read is listed, does not get better by itself, is mended and redriven, once', async () => {
  expect(await dlq('list')).toEqual({ code: 0, output: 'None waiting.' });
  const unknown = await dlq('list', '--topic', 'inventry');
  expect(unknown.code).toBe(1);
  expect(unknown.output).toMatch(
    /There is no topic inventry\nCure: those that there are: self, .*commands\.inventory/,
  );
  const sku = await productWithStock(shop.gatewayUrl, 5);
  const orderId = `ord_${randomUUID()}`;
  // With a quantity that is a word.
  await sendCommand('ReserveStock', orderId, '1', { lines: [{ sku, quantity: 'two' }] });
  await until(
    'the dead letter',
    async () => (await query(shop, 'inventory', 'SELECT FROM dead_letter')).length === 1,
  );

  const { output } = await dlq('list');
  for (const word of ['inventory/1', 'commands.inventory', 'ReserveStock', orderId, 'schema'])
    expect(output).toContain(word);
  const again = await dlq('redrive', '--all');
  expect([again.code, again.output]).toEqual([1, expect.stringContaining('inventory/1: failed')]);

  const file = join(folder, 'mended.json');
  await writeFile(file, JSON.stringify({ order_id: orderId, lines: [{ sku, quantity: 2 }] }));
  const edit = ['edit', 'inventory/1', '--data', file, '--note', 'two is 2', '--as', 'ana'];
  expect(await dlq(...edit)).toMatchObject({ code: 0, output: expect.stringContaining('edited') });
  expect(await dlq('redrive', 'inventory/1', '--as', 'ana')).toEqual({
    code: 0,
    output: 'inventory/1: applied',
  });
  expect(await stockOf(shop.gatewayUrl, sku)).toMatchObject({ reserved: 2 });
  expect(await dlq('redrive', 'inventory/1')).toEqual({ code: 0, output: 'inventory/1: already redriven' });
  expect(await stockOf(shop.gatewayUrl, sku)).toMatchObject({ reserved: 2 });

  const shown = (await dlq('show', 'inventory/1')).output;
  for (const word of ['redriven', 'ana edit: two is 2', 'ana redrive: applied'])
    expect(shown).toContain(word);

  // Inventory's answer is about an order that orders never placed.
  await until('the next dead letter', async () => (await dlq('list')).output.includes('orders/1'));
  expect(await dlq('discard', 'orders/1', '--note', 'there is no such order')).toEqual({
    code: 0,
    output: 'orders/1: discarded',
  });
  expect(await dlq('list')).toEqual({ code: 0, output: 'None waiting.' });

  // The books of the shop are to balance for the tests after this one.
  await sendCommand('ReleaseStock', orderId, '2', { reason: 'there is no such order' });
  await until('the stock to be free', async () => (await stockOf(shop.gatewayUrl, sku)).reserved === 0);
});

/** Places an order, and spoils what orders has sent itself about it, as if it were from another version, and due now. */
async function placeWithBrokenDeadline(sku: string): Promise<string> {
  const { body: order } = await placeOrder(shop.gatewayUrl, [{ sku, quantity: 2 }]);
  await query(
    shop,
    'orders',
    `UPDATE outbox_delayed SET payload = '{"order":1}', due_at = now() WHERE msg_key = '${order.id}'`,
  );
  return order.id;
}

test('what orders cannot read of its messages to itself is listed, shown, mended and redriven, or discarded', async () => {
  const sku = await productWithStock(shop.gatewayUrl, 9);
  await shop.hold('inventory');
  try {
    const [overdue, spared] = [await placeWithBrokenDeadline(sku), await placeWithBrokenDeadline(sku)];
    const waiting = () =>
      query<{ id: string; key: string }>(
        shop,
        'orders',
        `SELECT id::text, msg_key AS key FROM dead_letter WHERE state = 'waiting' AND topic = 'self'`,
      );
    await until('both dead letters', async () => (await waiting()).length === 2);
    const letters = await waiting();
    const nameOf = (order: string) => `orders/${letters.find(({ key }) => key === order)?.id}`;

    const { output } = await dlq('list', '--service', 'orders', '--topic', 'self');
    for (const word of [nameOf(overdue), nameOf(spared), 'CheckoutStepOverdue', overdue, 'schema'])
      expect(output).toContain(word);
    expect((await dlq('show', nameOf(overdue))).output).toContain('/sidecart/orders');
    const all = await dlq('list');
    expect(all.code).toBe(1);
    for (const word of [overdue, 'inventory is left out', 'Cure:']) expect(all.output).toContain(word);
    const again = await dlq('redrive', nameOf(overdue));
    expect([again.code, again.output]).toEqual([1, expect.stringContaining('failed')]);

    const file = join(folder, 'mended-deadline.json');
    await writeFile(file, JSON.stringify({ order_id: overdue, step: 'reserve', entry: 1 }));
    await dlq('edit', nameOf(overdue), '--data', file, '--note', 'the name of the field');
    expect(await dlq('redrive', nameOf(overdue))).toEqual({
      code: 0,
      output: `${nameOf(overdue)}: applied`,
    });
    expect(await orderStatus(shop.gatewayUrl, overdue)).toBe('cancelled');
    expect(await dlq('discard', nameOf(spared), '--note', 'it may wait')).toEqual({
      code: 0,
      output: `${nameOf(spared)}: discarded`,
    });
    expect(await orderStatus(shop.gatewayUrl, spared)).toBe('placed');
    await shop.release('inventory');
    expect(await orderEnds(shop.gatewayUrl, spared)).toBe('confirmed');
    expect(await dlq('list')).toEqual({ code: 0, output: 'None waiting.' });
  } finally {
    await shop.release('inventory');
  }
});

test('mistakes are told, each with what to do', async () => {
  for (const [args, code, words] of [
    [['redrive', 'inventory/77'], 1, 'There is no such thing'],
    [['redrive', 'products/1'], 1, 'products is no service that takes messages'],
    [['redrive', '1'], 2, 'is no SERVICE/ID'],
    [['redrive'], 2, 'Expected at least one SERVICE/ID'],
    [['discard', 'inventory/1'], 2, 'wants --note'],
    [['edit', 'inventory/1', '--note', 'x', '--data', 'nowhere.json'], 1, 'nowhere.json cannot be read'],
    [['burn'], 2, "Unknown command 'burn'"],
  ] as const) {
    const answer = await dlq(...args);
    expect([args, answer.code, answer.output]).toEqual([args, code, expect.stringContaining(words)]);
    expect(answer.output).not.toMatch(/\n\s+at /);
  }
});

test('the admin API is nobody’s: not routed by the gateway, not allowed to another’s sidecar', async () => {
  expect((await call(shop.gatewayUrl, 'GET', '/admin/dead-letters')).status).toBe(404);
  expect((await callThrough(shop, 'orders', '/admin/dead-letters', { appId: 'inventory' })).status).toBe(403);
});
