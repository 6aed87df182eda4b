import { newId, uuidv7 } from '@sidecart/kit/ids';
import { callJson } from '@sidecart/kit/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPayments, type TestPayments } from './testing.ts';

// What payments does with its commands, before anybody is asked: there is no provider here.

let shop: TestPayments;
beforeAll(async () => {
  shop = await openPayments();
});
afterAll(() => shop?.close());

/** What the provider will be asked, as `[kind, amount, state]`. */
async function operations(order: string) {
  const payment = await shop.paymentOf(order);
  return payment.operations.map((one: { kind: string; amount: { amount: number }; state: string }) => [
    one.kind,
    one.amount.amount,
    one.state,
  ]);
}

/** As if the provider had said so. */
async function settle(key: string, outcome: 'succeeded' | 'refused') {
  const { settleOperation } = await import('./commands.ts');
  const { findOperation } = await import('./store.ts');
  const operation = await findOperation(shop.deps.database.db, key);
  if (!operation) throw new Error(`no operation ${key}`);
  return settleOperation(
    shop.deps,
    operation,
    outcome === 'succeeded'
      ? { state: 'succeeded', authorisationId: 'auth_1' }
      : { state: 'refused', reason: 'no' },
  );
}

describe('a command', () => {
  test('is written down, and nothing is told until the provider has answered', async () => {
    const order = newId('ord');
    expect((await shop.authorise(order)).status).toBe(200);
    expect(await shop.paymentOf(order)).toMatchObject({
      order_id: order,
      status: 'authorising',
      authorised: { amount: 0, currency: 'GBP' },
      operations: [{ kind: 'authorise', state: 'pending', attempts: 0 }],
    });
    expect(await shop.told(order)).toEqual([]);
    await settle(`${order}.authorise`, 'succeeded');
    expect(await shop.told(order)).toEqual(['PaymentAuthorised']);
  });

  test('that comes twice, even at once, or in another message, is one', async () => {
    const order = newId('ord');
    const id = uuidv7();
    const all = await Promise.all([1, 2, 3, 4].map(() => shop.authorise(order, 'tok_ok', 1000, id)));
    expect(all.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    await Promise.all([1, 2, 3, 4].map(() => shop.authorise(order)));
    expect(await operations(order)).toEqual([['authorise', 1000, 'pending']]);
  });

  test('with another amount is a dead letter, and changes nothing', async () => {
    const order = newId('ord');
    await shop.authorise(order, 'tok_ok', 1000);
    await shop.authorise(order, 'tok_ok', 1001);
    expect(await shop.deadLetters()).toContainEqual(expect.stringContaining('payment_amount_changed'));
    expect(await operations(order)).toEqual([['authorise', 1000, 'pending']]);
  });

  test('that contradicts all that was told is a dead letter, and leaves no payment behind', async () => {
    const order = newId('ord');
    await shop.capture(order);
    await shop.refund(order, 1);
    expect(await shop.deadLetters()).toEqual(
      expect.arrayContaining([
        expect.stringContaining('payment_not_authorised'),
        expect.stringContaining('payment_not_captured'),
      ]),
    );
    expect(await shop.paymentOf(order)).toBeUndefined();
  });
});

describe('a void', () => {
  test('that overtakes its authorisation is remembered: nothing is held, and that is told', async () => {
    const order = newId('ord');
    await shop.letGo(order);
    await shop.authorise(order);
    expect(await shop.paymentOf(order)).toMatchObject({ status: 'voided', operations: [] });
    expect(await shop.told(order)).toEqual(['PaymentVoided']);
  });

  test('and its authorisation at once end in the same place, whoever is first', async () => {
    const orders = Array.from({ length: 12 }, () => newId('ord'));
    await Promise.all(orders.flatMap((order) => [shop.authorise(order), shop.letGo(order)]));
    for (const order of orders) {
      if ((await shop.paymentOf(order)).status === 'authorising') {
        await settle(`${order}.authorise`, 'succeeded');
        await settle(`${order}.void`, 'succeeded');
      }
      expect(await shop.paymentOf(order)).toMatchObject({ status: 'voided', captured: { amount: 0 } });
      expect((await shop.told(order)).filter((type) => type === 'PaymentVoided')).toHaveLength(1);
    }
  });

  test('while the authorisation is under way lets it finish, and then lets go', async () => {
    const order = newId('ord');
    await shop.authorise(order);
    await shop.letGo(order);
    expect(await operations(order)).toEqual([['authorise', 1000, 'pending']]);
    await settle(`${order}.authorise`, 'succeeded');
    expect(await operations(order)).toEqual([
      ['authorise', 1000, 'succeeded'],
      ['void', 1000, 'pending'],
    ]);
    await settle(`${order}.void`, 'succeeded');
    expect(await shop.told(order)).toEqual(['PaymentAuthorised', 'PaymentVoided']);
  });
});

describe('what is refused without asking', () => {
  test('a capture above what is held, with the reason in the payment', async () => {
    const order = newId('ord');
    await shop.authorise(order);
    await settle(`${order}.authorise`, 'succeeded');
    await shop.capture(order, 1001);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised', 'CaptureRefused']);
    expect(await shop.paymentOf(order)).toMatchObject({
      status: 'authorised',
      operations: [{}, { kind: 'capture', state: 'refused', reason: 'exceeds_authorised', attempts: 0 }],
    });
  });

  test('refunds of more than was taken: of many at once only so much is asked for', async () => {
    const order = newId('ord');
    await shop.authorise(order);
    await settle(`${order}.authorise`, 'succeeded');
    await shop.capture(order);
    await settle(`${order}.capture`, 'succeeded');
    await Promise.all(Array.from({ length: 8 }, () => shop.refund(order, 300)));
    const refunds = (await operations(order)).filter(([kind]: [string]) => kind === 'refund');
    expect(refunds.filter(([, , state]: string[]) => state === 'pending')).toHaveLength(3);
    expect(refunds.filter(([, , state]: string[]) => state === 'refused')).toHaveLength(5);
    expect((await shop.told(order)).filter((type) => type === 'RefundRefused')).toHaveLength(5);
  });
});

describe('what the provider has refused', () => {
  test.each([
    ['capture', (order: string, id?: string) => shop.capture(order, 1000, id)],
    ['void', (order: string, id?: string) => shop.letGo(order, id)],
  ] as const)(
    'a %s is asked for again on purpose only: not by its own message, but by a new one',
    async (kind, send) => {
      const order = newId('ord');
      const id = uuidv7();
      await shop.authorise(order);
      await settle(`${order}.authorise`, 'succeeded');
      await send(order, id);
      await settle(`${order}.${kind}`, 'refused');
      await send(order, id);
      const refused = [
        ['authorise', 1000, 'succeeded'],
        [kind, 1000, 'refused'],
      ];
      expect(await operations(order)).toEqual(refused);
      // As orders sends it when a person has said `try_again`.
      await send(order);
      await send(order);
      expect(await operations(order)).toEqual([...refused, [kind, 1000, 'pending']]);
      await settle(`${order}.${kind}.2`, 'succeeded');
      expect(await shop.told(order)).toEqual(
        kind === 'capture'
          ? ['PaymentAuthorised', 'CaptureRefused', 'PaymentCaptured']
          : ['PaymentAuthorised', 'VoidRefused', 'PaymentVoided'],
      );
    },
  );
});

test('what the rules must keep the table keeps as well', async () => {
  const order = newId('ord');
  await shop.authorise(order);
  await settle(`${order}.authorise`, 'succeeded');
  const bad = (statement: string) => shop.eyes.unsafe(`${statement} WHERE order_id = '${order}'`);
  await expect(bad('UPDATE payments SET captured = 1001')).rejects.toThrow(/payments_balance/);
  await expect(bad('UPDATE payments SET captured = 1000, refunded = 1001')).rejects.toThrow(
    /payments_balance/,
  );
  await expect(bad("UPDATE payment_operations SET state = 'pending'")).rejects.toThrow(/operations_settled/);
});

test('an answer belongs to the conversation of the command, whoever brings it', async () => {
  const order = newId('ord');
  const id = uuidv7();
  await shop.authorise(order, 'tok_ok', 1000, id);
  await settle(`${order}.authorise`, 'succeeded');
  const [row] = await shop.eyes<{ headers: Record<string, string> }[]>`
    SELECT headers FROM outbox WHERE msg_key = ${order}`;
  expect(row?.headers).toMatchObject({ correlationid: id, causationid: id, actor: 'test' });
});

describe('reading', () => {
  test('a payment by its id or its order, or all of them by pages', async () => {
    const orders = Array.from({ length: 3 }, () => newId('ord'));
    for (const order of orders) await shop.authorise(order);
    const payment = await shop.paymentOf(orders[1] as string);
    expect((await callJson(shop.app, 'GET', `/v1/payments/${payment.id}`)).body).toEqual(payment);
    const first = await callJson(shop.app, 'GET', '/v1/payments?limit=2');
    expect(first.body.items.map((one: { order_id: string }) => one.order_id)).toEqual([orders[2], orders[1]]);
    const next = await callJson(shop.app, 'GET', `/v1/payments?limit=2&cursor=${first.body.next_cursor}`);
    expect(next.body.items[0].order_id).toBe(orders[0]);
  });

  test('a payment and its operations are of one moment, also while they change', async () => {
    const orders = Array.from({ length: 25 }, () => newId('ord'));
    for (const order of orders) await shop.authorise(order);
    let running = true;
    const seen: string[] = [];
    const reading = (async () => {
      while (running) {
        const { body } = await callJson(shop.app, 'GET', '/v1/payments?limit=50');
        for (const { status, operations } of body.items)
          if (operations[0] && (status === 'authorising') !== (operations[0].state === 'pending'))
            seen.push(`${status}, ${operations[0].state}`);
      }
    })();
    for (const order of orders) await settle(`${order}.authorise`, 'succeeded');
    running = false;
    await reading;
    expect(seen).toEqual([]);
  });

  test('what is not there', async () => {
    expect(await callJson(shop.app, 'GET', `/v1/payments/${newId('pay')}`)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
    const { body } = await callJson(shop.app, 'GET', `/v1/payments?order_id=${newId('ord')}`);
    expect(body).toEqual({ items: [] });
  });

  test('what is paid with is nobody else’s business, and forgotten when it is needed no more', async () => {
    const order = newId('ord');
    await shop.authorise(order, 'tok_secret');
    expect(JSON.stringify(await shop.paymentOf(order))).not.toContain('tok_secret');
    await settle(`${order}.authorise`, 'succeeded');
    const [row] = await shop.eyes<{ token: string | null }[]>`
      SELECT token FROM payment_operations WHERE order_id = ${order}`;
    expect(row?.token).toBeNull();
  });
});
