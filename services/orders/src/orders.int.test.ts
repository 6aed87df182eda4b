import type { Catalog } from '@sidecart/contracts/catalog';
import type { AwaitedStep } from '@sidecart/contracts/orders';
import { appendEvents } from '@sidecart/event-sourcing/append';
import { lockStream } from '@sidecart/event-sourcing/load';
import { fingerprint } from '@sidecart/kit/idempotency';
import { newId, uuidv7 } from '@sidecart/kit/ids';
import { ProblemError } from '@sidecart/kit/problem';
import { callJson } from '@sidecart/kit/testing';
import type { Outbox } from '@sidecart/messaging/outbox';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { deliver, type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { order } from './aggregate.ts';
import type { OrderStore } from './commands.ts';
import {
  answersAbout,
  BODY,
  CLOCK,
  gbp,
  ordersService,
  orderThatIs,
  PIECES,
  priced,
  type Service,
  timeoutsOf,
} from './fixture-orders.ts';
import type { GetQuotes } from './quotes.ts';

let own: ServiceDatabase;
let service: Service;
let app: Service['app'];
let prices: Record<string, number>;
let getQuotes: ReturnType<typeof vi.fn<GetQuotes>>;

beforeAll(async () => {
  own = await serviceDatabase('orders');
});
beforeEach(() => {
  prices = { HEART: 255, LANTERN: 1000 };
  getQuotes = vi.fn<GetQuotes>(async (skus) =>
    skus.flatMap((sku) => {
      const amount = prices[sku];
      return amount === undefined ? [] : [{ sku, status: 'active' as const, unitPrice: gbp(amount) }];
    }),
  );
  service = ordersService(own.database, { getQuotes });
  app = service.app;
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => own?.close());

function place(o: { key?: string; body?: object; actor?: string; through?: typeof app } = {}) {
  return callJson(o.through ?? app, 'POST', '/v1/orders', o.body ?? BODY, {
    'idempotency-key': o.key ?? uuidv7(),
    ...(o.actor !== undefined && { 'x-sidecart-actor': o.actor }),
  });
}

const post = (id: string, what: string, body?: object, headers = {}) =>
  callJson(app, 'POST', `/v1/orders/${id}/${what}`, body, headers);
const cancel = (id: string, reason?: object) => post(id, 'cancel', reason);
const refund = (id: string, body: object, key = uuidv7()) =>
  post(id, 'refunds', body, { 'idempotency-key': key });
const settle = (id: string, body: object) => post(id, 'settlement', { note: 'seen to', ...body });
const read = async (id: string) => (await callJson(app, 'GET', `/v1/orders/${id}`)).body;
const stepOf = async (id: string) => {
  const { status, progress } = await read(id);
  return [status, progress?.step];
};

/** What orders sent about one order, in order. */
async function told(id: string) {
  return (await own.outbox()).filter(({ key }) => key === id);
}
const typesTold = async (id: string) => (await told(id)).map(({ type }) => type);
const lastTold = async (id: string, type: string) =>
  (await told(id)).findLast((each) => each.type === type)?.data;
const deadLetters = (id: string) => own.eyes<{ type: string; detail: string }[]>`
  SELECT type, detail FROM dead_letter WHERE msg_key = ${id} ORDER BY id`;
/** By type and the step and entry that they are for. */
const deadlines = async (id: string) =>
  (
    await own.eyes<{ step: string; entry: number }[]>`
      SELECT payload ->> 'step' AS step, (payload ->> 'entry')::int AS entry FROM outbox_delayed WHERE msg_key = ${id} ORDER BY id`
  ).map(({ step, entry }) => `${step} ${entry}`);

async function stored() {
  const [row] = await own.eyes<Record<string, number>[]>`
    SELECT (SELECT count(*) FROM streams)::int AS streams, (SELECT count(*) FROM events)::int AS events,
           (SELECT count(*) FROM outbox)::int AS outbox, (SELECT count(*) FROM outbox_delayed)::int AS delayed,
           (SELECT count(*) FROM idempotency_key)::int AS keys`;
  return row;
}

describe('placing', () => {
  test('stores the order, tells of it and asks for its stock', async () => {
    const answer = await place();
    const { id } = answer.body;
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe(`/v1/orders/${id}`);
    const order = {
      id,
      status: 'placed',
      customer_id: '17850',
      lines: [
        { sku: 'HEART', quantity: 3, unit_price: gbp(255), line_total: gbp(765) },
        { sku: 'LANTERN', quantity: 2, unit_price: gbp(1000), line_total: gbp(2000) },
      ],
      total: gbp(2765),
      placed_at: CLOCK,
      updated_at: CLOCK,
      progress: { step: 'reserve', since: CLOCK, waits_for: 'inventory to set the stock aside' },
    };
    expect(answer.body).toEqual(order);
    expect(await read(id)).toEqual(order);
    expect(await told(id)).toMatchObject([
      {
        topic: 'orders',
        type: 'OrderPlaced',
        data: { order_id: id, total: gbp(2765), customer_id: '17850' },
      },
      { topic: 'commands.inventory', type: 'ReserveStock', data: { order_id: id, lines: PIECES } },
    ]);
  });

  test('five hundred lines', async () => {
    const skus = Array.from({ length: 500 }, (_, i) => `S-${i}`);
    prices = Object.fromEntries(skus.map((sku) => [sku, 100]));
    const answer = await place({ body: { lines: skus.map((sku) => priced(sku, 1, 100)) } });
    expect(answer.status).toBe(201);
    const { lines, total } = await read(answer.body.id);
    expect(lines.map((each: { sku: string }) => each.sku)).toEqual(skus);
    expect(total).toEqual(gbp(50_000));
  });

  const faults: [string, () => void, object, number, string, string?][] = [
    [
      'a changed price',
      () => Object.assign(prices, { HEART: 295 }),
      BODY,
      409,
      'price_changed',
      '/lines/0/unit_price',
    ],
    ['an unknown product', () => delete prices.LANTERN, BODY, 422, 'unknown_product', '/lines/1/sku'],
    [
      'products away',
      () =>
        getQuotes.mockRejectedValueOnce(new ProblemError('products_unavailable', { retryAfterSeconds: 1 })),
      BODY,
      503,
      'products_unavailable',
    ],
    [
      'a product on two lines',
      () => {},
      { lines: [priced('HEART', 1, 255), priced('HEART', 1, 255)] },
      422,
      'duplicate_line',
      '/lines/1/sku',
    ],
  ];
  test.each(faults)(
    '%s stores nothing and leaves the key unused',
    async (_, spoil, request, status, code, pointer) => {
      const before = await stored();
      const key = uuidv7();
      spoil();
      const refused = await place({ key, body: request });
      expect([refused.status, refused.body.code]).toEqual([status, code]);
      expect(refused.body.errors?.[0]?.pointer).toBe(pointer);
      if (status === 503) expect(refused.headers.get('retry-after')).toBe('1');
      expect(await stored()).toEqual(before);

      prices = { HEART: 255, LANTERN: 1000 };
      expect((await place({ key })).status).toBe(201);
    },
  );

  test('a product on two lines costs no question to products', async () => {
    await place({ body: { lines: [priced('HEART', 1, 255), priced('HEART', 1, 255)] } });
    expect(getQuotes).not.toHaveBeenCalled();
  });
});

describe('the same key', () => {
  test('with the same body gives the same order as it is now, also when products does not answer', async () => {
    const key = uuidv7();
    const first = await place({ key });
    const answers = answersAbout(app, first.body.id);
    await answers.stockReserved();
    await answers.authorised();
    getQuotes.mockReturnValueOnce(new Promise(() => {}));
    const again = await place({ key, body: { lines: BODY.lines, customer_id: '17850' } });
    expect(again.status).toBe(200);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.body).toMatchObject({ id: first.body.id, status: 'confirmed' });
  });

  test('with what would be paid with anyway is the same body, with another token another one', async () => {
    const key = uuidv7();
    const first = await place({ key });
    expect((await place({ key, body: { ...BODY, payment_token: 'tok_ok' } })).body.id).toBe(first.body.id);
    const other = await place({ key, body: { ...BODY, payment_token: 'tok_slow' } });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('that was used with the release before payments is known still', async () => {
    const id = (await place()).body.id;
    const key = uuidv7();
    await own.eyes`
      INSERT INTO idempotency_key (actor, key, fingerprint, resource)
      VALUES ('anonymous', ${key}, ${fingerprint(BODY)}, ${id})`;
    expect(await place({ key })).toMatchObject({ status: 200, body: { id } });
  });

  test('with another body is refused', async () => {
    const key = uuidv7();
    await place({ key });
    const other = await place({ key, body: { ...BODY, customer_id: '1' } });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('of another actor is another key', async () => {
    const key = uuidv7();
    const mine = await place({ key, actor: 'ann' });
    const yours = await place({ key, actor: 'bob' });
    expect([mine.status, yours.status]).toEqual([201, 201]);
    expect(mine.body.id).not.toBe(yours.body.id);
  });

  test('ten times at once makes one order', async () => {
    const before = await stored();
    const key = uuidv7();
    const all = await Promise.all(Array.from({ length: 10 }, () => place({ key })));
    expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(all.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(9);
    expect(new Set(all.map((answer) => answer.body.id)).size).toBe(1);
    expect(await stored()).toEqual({
      streams: (before?.streams ?? 0) + 1,
      events: (before?.events ?? 0) + 1,
      outbox: (before?.outbox ?? 0) + 2,
      delayed: (before?.delayed ?? 0) + 1,
      keys: (before?.keys ?? 0) + 1,
    });
  });

  test('at once with two bodies makes one order and refuses the other', async () => {
    const key = uuidv7();
    const both = await Promise.all([place({ key }), place({ key, body: { ...BODY, customer_id: '1' } })]);
    expect(both.map(({ status }) => status).sort()).toEqual([201, 422]);
  });
});

describe('one transaction', () => {
  /** Fails when all that placing does is done. */
  const broken = (through: Outbox<Catalog>): Outbox<Catalog> => ({
    ...through,
    send: async (tx, ...commands) => {
      await through.send(tx, ...commands);
      throw new Error('the last step fails');
    },
  });
  const appThrough = (through: (real: Outbox<Catalog>) => Outbox<Catalog>) =>
    ordersService(own.database, { getQuotes, through }).app;

  test('holds key, event, fact, command and deadline: when the last fails there is none of them', async () => {
    const before = await stored();
    const answer = await place({ through: appThrough(broken) });
    expect([answer.status, answer.body.code]).toEqual([500, 'internal']);
    expect(await stored()).toEqual(before);
  });

  test('control: an outbox that writes outside of it tells the world of an order that does not exist', async () => {
    const before = await stored();
    let written = Promise.resolve();
    const outside = (real: Outbox<Catalog>): Outbox<Catalog> => ({
      ...real,
      publish: (_tx, ...facts) => {
        written = own.database.db.transaction((other) => real.publish(other, ...facts));
        return written;
      },
    });
    await place({ through: appThrough((real) => broken(outside(real))) });
    await written;
    expect(await stored()).toEqual({ ...before, outbox: (before?.outbox ?? 0) + 1 });
  });

  test('has the deadline of the first step in it', async () => {
    const id = await orderThatIs(app, 'placed');
    const [row] = await own.eyes`
      SELECT d.xmin = e.xmin AS together, d.type, d.topic, d.payload AS data,
             extract(epoch FROM d.due_at - clock_timestamp())::float8 AS seconds
      FROM outbox_delayed d JOIN events e ON e.stream_id = d.msg_key WHERE e.stream_id = ${id}`;
    expect(row).toEqual({
      together: true,
      type: 'CheckoutStepOverdue',
      topic: 'self',
      data: { order_id: id, step: 'reserve', entry: 1 },
      seconds: expect.closeTo(15 * 60, -2),
    });
  });
});

describe('the way of an order', () => {
  test('from stock and money to the customer: each answer leads to the next question, and the order says what it waits for', async () => {
    const id = await orderThatIs(app, 'placed');
    const answers = answersAbout(app, id);
    const way: [() => Promise<unknown>, [string, string | undefined], string[]][] = [
      [answers.stockReserved, ['placed', 'authorise'], ['AuthorisePayment']],
      [answers.authorised, ['confirmed', 'hand_over'], ['OrderConfirmed', 'CreateShipment']],
      [answers.handedOver, ['confirmed', 'capture'], ['CapturePayment']],
      [answers.captured, ['shipped', 'deliver'], ['OrderShipped']],
      [answers.delivered, ['delivered', undefined], ['OrderDelivered']],
    ];
    for (const [answer, step, types] of way) {
      const before = (await told(id)).length;
      await answer();
      expect(await stepOf(id)).toEqual(step);
      expect((await typesTold(id)).slice(before)).toEqual(types);
    }
    expect(await lastTold(id, 'AuthorisePayment')).toEqual({
      order_id: id,
      amount: gbp(2765),
      token: 'tok_ok',
    });
    expect(await lastTold(id, 'CreateShipment')).toEqual({ order_id: id, lines: PIECES });
    expect(await lastTold(id, 'CapturePayment')).toEqual({ order_id: id, amount: gbp(2765) });
    expect(await deadlines(id)).toEqual([
      'reserve 1',
      'authorise 2',
      'hand_over 3',
      'capture 4',
      'deliver 5',
    ]);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('each answer several times, at once and afterwards, counts once', async () => {
    const id = await orderThatIs(app, 'placed');
    const answers = answersAbout(app, id);
    for (const answer of [answers.stockReserved, answers.authorised, answers.handedOver, answers.captured]) {
      await Promise.all([answer(), answer(), answer()]);
      await answer();
    }
    const message = uuidv7();
    await Promise.all([1, 2, 3].map(() => deliver(app, 'ShipmentDelivered', deliveredData(id), message)));
    expect(await stepOf(id)).toEqual(['delivered', undefined]);
    const types = await typesTold(id);
    expect(types).toEqual([...new Set(types)]);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('an arrival that is told before the hand-over waits for it', async () => {
    const id = await orderThatIs(app, 'confirmed');
    const answers = answersAbout(app, id);
    await answers.delivered();
    expect(await stepOf(id)).toEqual(['confirmed', 'hand_over']);
    await answers.handedOver();
    await answers.captured();
    expect(await stepOf(id)).toEqual(['delivered', undefined]);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('short of stock: rejected, naming the lines at fault', async () => {
    const id = await orderThatIs(app, 'placed');
    await answersAbout(app, id).stockRejected();
    const lines = [{ sku: 'HEART', requested: 3, available: 1 }];
    expect(await read(id)).toMatchObject({
      status: 'rejected',
      rejection: { reason: 'out_of_stock', lines },
    });
    expect(await lastTold(id, 'OrderRejected')).toMatchObject({
      order_id: id,
      reason: 'out_of_stock',
      lines,
    });
  });

  test('declined: rejected, and the stock goes back', async () => {
    const id = await orderThatIs(app, 'held');
    await answersAbout(app, id).declined();
    expect(await read(id)).toMatchObject({
      status: 'rejected',
      rejection: { reason: 'payment_declined', lines: [] },
    });
    expect((await typesTold(id)).slice(-2)).toEqual(['OrderRejected', 'ReleaseStock']);
  });

  test('lost: what was paid is given back', async () => {
    const id = await orderThatIs(app, 'shipped');
    const answers = answersAbout(app, id);
    await answers.lost();
    expect(await stepOf(id)).toEqual(['lost', 'refund']);
    const asked = await lastTold(id, 'RefundPayment');
    expect(asked).toMatchObject({ order_id: id, amount: gbp(2765) });
    await answers.refunded(String(asked?.refund_id), 2765);
    expect(await read(id)).toMatchObject({ status: 'lost', paid: gbp(2765), refunded: gbp(2765) });
    expect(await stepOf(id)).toEqual(['lost', undefined]);
  });

  test('an answer both ways, or about an order that nobody placed, is kept as a dead letter', async () => {
    const id = await orderThatIs(app, 'confirmed');
    const nobody = newId('ord');
    const answers = [answersAbout(app, id).stockRejected(), answersAbout(app, nobody).stockReserved()];
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200);
    expect(await stepOf(id)).toEqual(['confirmed', 'hand_over']);
    expect(await deadLetters(id)).toMatchObject([
      { detail: expect.stringContaining(`order_already_decided { orderId: '${id}'`) },
    ]);
    expect(await deadLetters(nobody)).toMatchObject([{ detail: `not_found { orderId: '${nobody}' }` }]);
  });
});

describe('cancelling', () => {
  test('an order that nobody packs yet, at once: its stock and its money are let go', async () => {
    const id = await orderThatIs(app, 'held');
    const answer = await cancel(id, { reason: 'wrong size' });
    expect(answer).toMatchObject({
      status: 200,
      body: { id, status: 'cancelled', cancellation: { reason: 'wrong size' }, progress: { step: 'void' } },
    });
    expect((await cancel(id)).status).toBe(200);
    expect((await typesTold(id)).slice(3)).toEqual(['OrderCancelled', 'ReleaseStock', 'VoidPayment']);
    await answersAbout(app, id).voided();
    expect(await stepOf(id)).toEqual(['cancelled', undefined]);
  });

  test('a confirmed order asks shipping first', async () => {
    const id = await orderThatIs(app, 'confirmed');
    const answer = await cancel(id, { reason: 'wrong size' });
    expect(answer).toMatchObject({
      status: 202,
      body: { status: 'confirmed', progress: { step: 'cancel' } },
    });
    expect(await lastTold(id, 'CancelShipment')).toEqual({ order_id: id, reason: 'wrong size' });
    await answersAbout(app, id).shipmentCancelled();
    expect(await read(id)).toMatchObject({ status: 'cancelled', cancellation: { reason: 'wrong size' } });
    expect((await typesTold(id)).slice(-3)).toEqual(['OrderCancelled', 'ReleaseStock', 'VoidPayment']);
  });

  test('comes too late when it has left', async () => {
    const id = await orderThatIs(app, 'confirmed');
    await cancel(id);
    await answersAbout(app, id).handedOver();
    expect(await stepOf(id)).toEqual(['confirmed', 'capture']);
    const answer = await cancel(id, {});
    expect([answer.status, answer.body.code]).toEqual([409, 'order_not_cancellable']);
  });

  test('an unknown order is not found', async () => {
    const unknown = await cancel(newId('ord'), {});
    expect(unknown).toMatchObject({ status: 404, body: { code: 'not_found' } });
    // What a dead letter tells to an operator.
    expect(JSON.stringify(unknown.body)).not.toContain('orderId');
  });

  /** A cancellation and a rejection that have both decided on what they saw before either may go on. */
  async function cancelWhileRejected(through = app): Promise<string> {
    const id = await orderThatIs(through, 'placed');
    const both: Promise<unknown>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM streams WHERE stream_id = ${id} FOR UPDATE`;
      // Who waits first goes on first.
      both.push(callJson(through, 'POST', `/v1/orders/${id}/cancel`, {}));
      await own.blocked(1);
      both.push(answersAbout(through, id).stockRejected());
      await own.blocked(2);
    });
    await Promise.all(both);
    return id;
  }

  test('while inventory rejects has one outcome: the second decides anew', async () => {
    const id = await cancelWhileRejected();
    expect((await typesTold(id)).slice(2)).toEqual(['OrderCancelled', 'ReleaseStock']);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('control: a store that appends at whatever version there is has the order cancelled and rejected', async () => {
    const careless = (real: OrderStore): OrderStore => ({
      ...real,
      async handle(tx, streamId, command, o) {
        if (o?.isNew) return real.handle(tx, streamId, command, o);
        const { state: before } = await real.load(tx, streamId);
        const events = order.decide(command, before);
        await lockStream(tx, streamId);
        const { version: expectedVersion } = await real.load(tx, streamId);
        const version = await appendEvents(tx, order, { streamId, expectedVersion, events });
        return { events, before, state: events.reduce(order.evolve, before), version };
      },
    });
    const id = await cancelWhileRejected(ordersService(own.database, { deciding: careless }).app);
    expect((await typesTold(id)).slice(2).sort()).toEqual([
      'OrderCancelled',
      'OrderRejected',
      'ReleaseStock',
    ]);
  });
});

describe('amending', () => {
  const amend = (id: string, lines: object[], reason?: string) =>
    post(id, 'amendments', { lines, ...(reason !== undefined && { reason }) });
  const lessHearts = [{ sku: 'HEART', quantity: 1 }];
  const left = [
    { sku: 'HEART', quantity: 1 },
    { sku: 'LANTERN', quantity: 2 },
  ];

  test('an order that nobody packs yet, at once', async () => {
    const id = await orderThatIs(app, 'placed');
    const answer = await amend(id, [{ sku: 'LANTERN', quantity: 0 }]);
    expect(answer).toMatchObject({
      status: 200,
      body: { total: gbp(765), lines: [{ sku: 'HEART', quantity: 3 }] },
    });
    const { amendment_id } = (await lastTold(id, 'OrderAmended')) ?? {};
    expect(await lastTold(id, 'ReleaseStock')).toEqual({
      order_id: id,
      reason: 'order amended',
      part: { id: amendment_id, lines: [{ sku: 'LANTERN', quantity: 2 }] },
    });
    const before = await typesTold(id);
    expect((await amend(id, [{ sku: 'LANTERN', quantity: 0 }])).status).toBe(200);
    expect(await typesTold(id)).toEqual(before);
  });

  test('a confirmed order asks shipping first; less money is then taken', async () => {
    const id = await orderThatIs(app, 'confirmed');
    const answers = answersAbout(app, id);
    expect(await amend(id, lessHearts, 'too many')).toMatchObject({
      status: 202,
      body: { total: gbp(2765), progress: { step: 'amend' } },
    });
    const asked = await lastTold(id, 'AmendShipment');
    expect(asked).toMatchObject({ order_id: id, lines: left });
    expect((await amend(id, lessHearts)).status).toBe(202);
    expect(await amend(id, [{ sku: 'HEART', quantity: 2 }])).toMatchObject({
      status: 409,
      body: { code: 'order_busy' },
    });
    await answers.shipmentAmended(String(asked?.amendment_id), left);
    expect(await read(id)).toMatchObject({ total: gbp(2255), progress: { step: 'hand_over' } });
    await answers.handedOver(left);
    expect(await lastTold(id, 'CapturePayment')).toEqual({ order_id: id, amount: gbp(2255) });
  });

  test('comes too late when other pieces have left', async () => {
    const id = await orderThatIs(app, 'confirmed');
    await amend(id, lessHearts);
    await answersAbout(app, id).handedOver();
    expect(await lastTold(id, 'CapturePayment')).toEqual({ order_id: id, amount: gbp(2765) });
    expect(await amend(id, lessHearts)).toMatchObject({ status: 409, body: { code: 'order_not_amendable' } });
  });

  test('the hand-over of pieces that nobody ordered is a dead letter: no money is taken for them', async () => {
    const id = await orderThatIs(app, 'confirmed');
    await answersAbout(app, id).handedOver(lessHearts);
    expect(await stepOf(id)).toEqual(['confirmed', 'hand_over']);
    expect(await deadLetters(id)).toMatchObject([{ type: 'ShipmentHandedOver' }]);
  });
});

describe('refunding', () => {
  const hearts = { lines: [{ sku: 'HEART', quantity: 2 }], restock: true, reason: 'torn' };

  test('pieces of it: asks for their money, puts back what came back, and says so when it is done', async () => {
    const id = await orderThatIs(app, 'delivered');
    const answer = await refund(id, hearts);
    expect(answer).toMatchObject({
      status: 202,
      body: { status: 'delivered', progress: { step: 'refund' }, lines: [{ refunded: 2, restocked: 2 }, {}] },
    });
    const asked = await lastTold(id, 'RefundPayment');
    expect(asked).toMatchObject({ order_id: id, amount: gbp(510) });
    expect(await lastTold(id, 'ReleaseStock')).toMatchObject({
      part: { id: asked?.refund_id, lines: [{ sku: 'HEART', quantity: 2 }] },
    });
    await answersAbout(app, id).refunded(String(asked?.refund_id), 510);
    expect(await read(id)).toMatchObject({ paid: gbp(2765), refunded: gbp(510) });
    expect(await stepOf(id)).toEqual(['delivered', undefined]);
    expect(await lastTold(id, 'OrderRefunded')).toMatchObject({
      refund_id: asked?.refund_id,
      amount: gbp(510),
    });
  });

  test('once per key, also twice at once', async () => {
    const id = await orderThatIs(app, 'delivered');
    const key = uuidv7();
    const both = await Promise.all([refund(id, hearts, key), refund(id, hearts, key)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 202]);
    expect((await refund(id, hearts, key)).headers.get('idempotency-replayed')).toBe('true');
    expect((await typesTold(id)).filter((type) => type === 'RefundPayment')).toHaveLength(1);
    const other = await refund(id, { ...hearts, restock: false }, key);
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('no more than there is, also twice at once, and a refused one leaves the key unused', async () => {
    const id = await orderThatIs(app, 'delivered');
    const both = await Promise.all([refund(id, hearts), refund(id, hearts)]);
    expect(both.map(({ status }) => status).sort()).toEqual([202, 409]);
    const key = uuidv7();
    expect((await refund(id, hearts, key)).body).toMatchObject({
      code: 'refund_too_much',
      errors: [{ pointer: '/lines/0/quantity', current: 1 }],
    });
    expect((await refund(id, { reason: 'all of the rest' }, key)).status).toBe(202);
    expect(await lastTold(id, 'RefundPayment')).toMatchObject({ amount: gbp(2255) });
    expect((await refund(id, { reason: 'more' })).body.code).toBe('nothing_to_refund');
  });

  test('what was not paid is refused', async () => {
    const id = await orderThatIs(app, 'confirmed');
    expect(await refund(id, hearts)).toMatchObject({ status: 409, body: { code: 'order_not_refundable' } });
  });
});

describe('what needs a person', () => {
  test('a refused refund: settled by trying again, under another id', async () => {
    const id = await orderThatIs(app, 'delivered');
    const answers = answersAbout(app, id);
    await refund(id, { reason: 'torn' });
    const first = await lastTold(id, 'RefundPayment');
    await answers.refundRefused(String(first?.refund_id));
    expect((await read(id)).progress).toEqual({
      step: 'person',
      since: CLOCK,
      waits_for: 'somebody to settle it',
      problem: 'the provider refuses to give money back: card closed',
      problem_code: 'refund_refused',
      refund_id: first?.refund_id,
    });
    const named = { problem: 'refund_refused', refund_id: first?.refund_id };
    expect(await settle(id, { ...named, resolution: 'try_again' })).toMatchObject({
      status: 200,
      body: { progress: { step: 'refund' } },
    });
    const second = await lastTold(id, 'RefundPayment');
    expect(second?.refund_id).not.toBe(first?.refund_id);
    // The same decision once more is about nothing that is open.
    expect(await settle(id, { ...named, resolution: 'written_off' })).toMatchObject({
      status: 409,
      body: { code: 'nothing_to_settle' },
    });
    await answers.refunded(String(second?.refund_id), 2765);
    expect(await stepOf(id)).toEqual(['delivered', undefined]);
  });

  test('a refused capture: written off, it goes on without the money', async () => {
    const id = await orderThatIs(app, 'handed over');
    const answers = answersAbout(app, id);
    await answers.captureRefused();
    expect((await read(id)).progress).toMatchObject({ step: 'person', problem_code: 'capture_refused' });
    await settle(id, { resolution: 'written_off' });
    expect(await stepOf(id)).toEqual(['shipped', 'deliver']);
    await answers.captureRefused();
    expect(await stepOf(id)).toEqual(['shipped', 'deliver']);
  });

  test('a refused void: tried again until the money is let go', async () => {
    const id = await orderThatIs(app, 'held');
    const answers = answersAbout(app, id);
    await cancel(id);
    await answers.voidRefused();
    expect((await read(id)).progress).toMatchObject({ step: 'person', problem_code: 'void_refused' });
    await settle(id, { resolution: 'try_again' });
    expect((await typesTold(id)).filter((type) => type === 'VoidPayment')).toHaveLength(2);
    await answers.voided();
    expect(await stepOf(id)).toEqual(['cancelled', undefined]);
  });

  test('cannot be settled in any way', async () => {
    const id = await orderThatIs(app, 'handed over');
    expect((await settle(id, { resolution: 'try_again' })).body.code).toBe('nothing_to_settle');
    await answersAbout(app, id).delivered();
    await overdue(id, 'capture', 4);
    const answer = await settle(id, { resolution: 'written_off' });
    expect(answer).toMatchObject({
      status: 409,
      body: { code: 'settlement_too_early', errors: [{ possible: ['try_again'] }] },
    });
  });

  test('an answer that never comes: asked once more, then settled without; when it comes after all it is noted', async () => {
    const id = await orderThatIs(app, 'handed over');
    await overdue(id, 'capture', 4);
    const named = { problem: 'capture_unanswered' };
    await settle(id, { ...named, resolution: 'try_again' });
    expect((await settle(id, { ...named, resolution: 'written_off' })).body.code).toBe('nothing_to_settle');
    await overdue(id, 'capture', 5);
    expect(await settle(id, { ...named, resolution: 'written_off' })).toMatchObject({
      status: 200,
      body: { status: 'shipped', progress: { step: 'deliver' } },
    });
    await answersAbout(app, id).delivered();
    const written = await read(id);
    expect([written.status, written.progress, written.paid]).toEqual(['delivered', undefined, undefined]);
    await answersAbout(app, id).captured();
    expect(await read(id)).toMatchObject({ status: 'delivered', paid: gbp(2765) });
    expect(await deadLetters(id)).toEqual([]);
  });

  test('a cancellation that nobody answers for: stopped by hand, all is taken back', async () => {
    const id = await orderThatIs(app, 'confirmed');
    await cancel(id);
    await overdue(id, 'cancel', 4);
    await settle(id, { resolution: 'try_again' });
    await overdue(id, 'cancel', 5);
    const answer = await settle(id, { resolution: 'done_elsewhere' });
    expect(answer.body).toMatchObject({ status: 'cancelled', progress: { step: 'void' } });
    expect((await typesTold(id)).slice(-4).sort()).toEqual(
      ['CancelShipment', 'OrderCancelled', 'ReleaseStock', 'VoidPayment'].sort(),
    );
    await answersAbout(app, id).shipmentCancelled();
    await answersAbout(app, id).voided();
    expect(await stepOf(id)).toEqual(['cancelled', undefined]);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('an amendment that nobody answers for has no other way than to be given up', async () => {
    const id = await orderThatIs(app, 'confirmed');
    await post(id, 'amendments', { lines: [{ sku: 'HEART', quantity: 1 }] });
    await overdue(id, 'amend', 4);
    expect((await settle(id, { resolution: 'done_elsewhere' })).body).toMatchObject({
      code: 'settlement_not_possible',
      errors: [{ possible: ['try_again', 'written_off'] }],
    });
    await settle(id, { resolution: 'try_again' });
    await overdue(id, 'amend', 5);
    await settle(id, { resolution: 'written_off' });
    expect(await stepOf(id)).toEqual(['confirmed', 'hand_over']);
    await answersAbout(app, id).handedOver([
      { sku: 'HEART', quantity: 1 },
      { sku: 'LANTERN', quantity: 2 },
    ]);
    expect(await lastTold(id, 'CapturePayment')).toMatchObject({ amount: gbp(2255) });
  });
});

/** The deadline comes now. */
async function overdue(id: string, step: AwaitedStep, entry: number): Promise<void> {
  await sendDeadline(id, step, entry);
  await service.work();
  await due(id);
}

function sendDeadline(id: string, step: AwaitedStep, entry: number): Promise<void> {
  const command = { type: 'CheckoutStepOverdue' as const, data: { order_id: id, step, entry } };
  return own.database.db.transaction((tx) => service.handling.outbox.send(tx, command));
}

/** Waits until what the order has sent to itself has been handled. */
function due(id: string): Promise<void> {
  return vi.waitFor(
    async () => expect(await own.eyes`SELECT FROM outbox_local WHERE msg_key = ${id}`).toHaveLength(0),
    { timeout: 15_000, interval: 20 },
  );
}

function deliveredData(order_id: string) {
  return {
    order_id,
    shipment_id: 'shp_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42',
    delivered_at: '2026-03-14T09:30:00.000Z',
  };
}

describe('an answer that does not come in time', () => {
  const impatient = () => ordersService(own.database, { timeouts: timeoutsOf(200) }).app;

  test('of inventory: cancelled, and what was or will be set aside released; what comes afterwards changes nothing', async () => {
    const id = await orderThatIs(impatient(), 'placed');
    await service.work();
    const reason = 'no stock was set aside in time';
    await vi.waitFor(
      async () => expect(await read(id)).toMatchObject({ status: 'cancelled', cancellation: { reason } }),
      {
        timeout: 15_000,
      },
    );
    const types = ['OrderPlaced', 'ReserveStock', 'OrderCancelled', 'ReleaseStock'];
    expect(await typesTold(id)).toEqual(types);
    expect(await lastTold(id, 'OrderCancelled')).toMatchObject({ order_id: id, reason });
    await answersAbout(app, id).stockReserved();
    await cancel(id, { reason: 'too slow' });
    await overdue(id, 'reserve', 1);
    expect(await typesTold(id)).toEqual(types);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('of payments: cancelled, and the money let go, also what is held later', async () => {
    const id = await orderThatIs(app, 'held');
    await overdue(id, 'authorise', 2);
    expect((await typesTold(id)).slice(3)).toEqual(['OrderCancelled', 'ReleaseStock', 'VoidPayment']);
    await answersAbout(app, id).authorised();
    await answersAbout(app, id).voided();
    expect(await stepOf(id)).toEqual(['cancelled', undefined]);
    expect(await deadLetters(id)).toEqual([]);
  });

  test('control: before its time the order waits', async () => {
    const [late, waiting] = [await orderThatIs(impatient(), 'placed'), await orderThatIs(app, 'placed')];
    await service.work();
    await vi.waitFor(async () => expect((await read(late)).status).toBe('cancelled'), { timeout: 15_000 });
    expect(await stepOf(waiting)).toEqual(['placed', 'reserve']);
  });

  test('when it has come in time after all: the deadline changes nothing', async () => {
    const id = await orderThatIs(app, 'held');
    await overdue(id, 'reserve', 1);
    expect(await stepOf(id)).toEqual(['placed', 'authorise']);
  });

  test.each<['answer' | 'deadline', string[], string]>([
    ['answer', ['AuthorisePayment'], 'placed'],
    ['deadline', ['OrderCancelled', 'ReleaseStock'], 'cancelled'],
  ])('at the same moment as the answer: one of them wins, here the %s', async (first, types, status) => {
    const id = await orderThatIs(app, 'placed');
    await service.work();
    const answers = answersAbout(app, id);
    let answer: Promise<unknown> = Promise.resolve();
    const both = [
      () => {
        answer = answers.stockReserved();
      },
      () => sendDeadline(id, 'reserve', 1),
    ];
    if (first === 'deadline') both.reverse();
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM streams WHERE stream_id = ${id} FOR UPDATE`;
      for (const [i, come] of both.entries()) {
        await come();
        await own.blocked(i + 1);
      }
    });
    await answer;
    await due(id);
    expect((await typesTold(id)).slice(2)).toEqual(types);
    expect((await read(id)).status).toBe(status);
    expect(await deadLetters(id)).toEqual([]);
  });
});

describe('the past of an order', () => {
  test('is told: what happened, by whom, why, and which request or message it belongs to', async () => {
    const placed = await place({ actor: 'ann', body: { ...BODY, payment_token: 'tok_secret' } });
    const { id } = placed.body;
    const message = uuidv7();
    await answersAbout(app, id).stockReserved(message);
    await callJson(
      app,
      'POST',
      `/v1/orders/${id}/cancel`,
      { reason: 'wrong size' },
      { 'x-sidecart-actor': 'bob' },
    );
    const { body } = await callJson(app, 'GET', `/v1/orders/${id}/history`);
    expect(body.items).toMatchObject([
      { version: 1, type: 'OrderPlaced', actor: 'ann', command: 'PlaceOrder', details: { total: gbp(2765) } },
      { version: 2, type: 'StockHeld', actor: 'test', command: 'NoteStockReserved', caused_by: message },
      {
        version: 3,
        type: 'OrderCancelled',
        actor: 'bob',
        command: 'CancelOrder',
        details: { reason: 'wrong size', cause: 'customer' },
      },
    ]);
    for (const item of body.items) {
      expect(item.trace_id).toMatch(/^[0-9a-f]{32}$/);
      expect(item.request_id).toBeTruthy();
    }
    expect(JSON.stringify(body)).not.toContain('tok_secret');
  });

  test('is as it was at any moment', async () => {
    const id = await orderThatIs(app, 'placed');
    const [{ now } = { now: new Date() }] = await own.eyes<{ now: Date }[]>`SELECT clock_timestamp() AS now`;
    await new Promise((resolve) => setTimeout(resolve, 5));
    await answersAbout(app, id).stockReserved();
    const at = (moment: string) => callJson(app, 'GET', `/v1/orders/${id}?at=${encodeURIComponent(moment)}`);
    expect((await at(now.toISOString())).body.progress.step).toBe('reserve');
    expect((await at(new Date(Date.now() + 60_000).toISOString())).body.progress.step).toBe('authorise');
    expect(await at('2020-01-01T00:00:00Z')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    // An offset of the reader's own.
    expect((await at('2120-01-01T00:00:00+02:00')).status).toBe(200);
  });

  test('of an order that nobody placed is not found', async () => {
    const answer = await callJson(app, 'GET', `/v1/orders/${newId('ord')}/history`);
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
  });

  test('is still told when it is condensed, and the order is as it was; by the admin API, with the reason', async () => {
    const id = await orderThatIs(app, 'delivered');
    const before = await read(id);
    const { body: history } = await callJson(app, 'GET', `/v1/orders/${id}/history`);
    const condense = () =>
      callJson(
        app,
        'POST',
        `/admin/events/streams/${id}/condense`,
        { reason: 'to save room' },
        { 'x-sidecart-actor': 'ann' },
      );
    // Deadlines of steps that it has left wait for their time, and messages for the broker.
    expect(await condense()).toMatchObject({ status: 409, body: { code: 'message_unsent' } });
    await own.eyes`DELETE FROM outbox_delayed WHERE msg_key = ${id}`;
    await own.eyes`DELETE FROM outbox WHERE msg_key = ${id}`;
    expect(await condense()).toMatchObject({
      status: 200,
      body: { from_version: 1, to_version: 6, events: 6 },
    });
    expect(await read(id)).toEqual(before);
    expect((await callJson(app, 'GET', `/v1/orders/${id}/history`)).body).toEqual(history);
    for (const path of ['', '/history']) {
      const { body } = await callJson(app, 'GET', `/admin/events/streams/${id}${path}`);
      expect(JSON.stringify(body)).toContain('"paymentToken":"(not shown)"');
      expect(JSON.stringify(body)).not.toContain('tok_ok');
    }
    const then = history.items[1].at;
    const at = await callJson(app, 'GET', `/v1/orders/${id}?at=${then}`);
    expect(at.body.progress.step).toBe('authorise');
    expect((await refund(id, { reason: 'torn' })).status).toBe(202);
    await own.eyes`UPDATE events_archive SET checksum = 'x' WHERE stream_id = ${id}`;
    const damaged = await callJson(app, 'GET', `/v1/orders/${id}/history`);
    expect([damaged.status, damaged.body.code]).toEqual([409, 'archive_damaged']);
    const { body: status } = await callJson(app, 'GET', '/admin/events/projections');
    expect(status).toMatchObject({ types: ['order'], names: ['orders'] });
  });
});
