import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { Shipment } from '@sidecart/contracts/shipping';
import { newId, uuidv7 } from '@sidecart/kit/ids';
import { callJson, type JsonAnswer, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox, type Outbox } from '@sidecart/messaging/outbox';
import { PgSelectBase } from 'drizzle-orm/pg-core';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { deliver, type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createShippingApp } from './app.ts';
import { subscriptions } from './subscriptions.ts';

const NOW = '2026-03-14T09:26:53.589Z';

let own: ServiceDatabase;
let outbox: Outbox<Catalog>;
let app: ReturnType<typeof createShippingApp>;

function appWith(useOutbox: Outbox<Catalog>) {
  const deps = testDeps('shipping');
  const { database } = own;
  const clock = () => new Date(NOW);
  const consumer = createConsumer({ ...deps, database, topics: subscriptions(useOutbox, clock) });
  return createShippingApp(deps, { database, outbox: useOutbox, clock, consumer });
}

beforeAll(async () => {
  own = await serviceDatabase('shipping');
  outbox = createOutbox({ service: 'shipping', catalog, owns: ['shipping'] });
  app = appWith(outbox);
});
afterAll(() => own?.close());
afterEach(() => vi.restoreAllMocks());

interface Line {
  sku: string;
  quantity: number;
}
const line = (sku: string, quantity: number): Line => ({ sku, quantity });
const LINES = [line('HEART', 3), line('LANTERN', 2)];
const FEWER = [line('HEART', 1)];

const create = (order_id: string, lines = LINES, id?: string, through = app) =>
  deliver(through, 'CreateShipment', { order_id, lines }, id);
const amend = (order_id: string, lines = FEWER, amendment_id = newId('amd'), id?: string) =>
  deliver(app, 'AmendShipment', { order_id, amendment_id, lines }, id);
const cancel = (order_id: string, id?: string) =>
  deliver(app, 'CancelShipment', { order_id, reason: 'order cancelled' }, id);

const list = async (query: string) => (await callJson(app, 'GET', `/v1/shipments?${query}`)).body;
const read = async (id: string) => (await callJson(app, 'GET', `/v1/shipments/${id}`)).body;
const shipmentOf = async (order: string) => (await list(`order_id=${order}`)).items[0];
const pack = (id: string, body: object = {}, key: string = uuidv7(), actor = 'anonymous') =>
  callJson(app, 'POST', `/v1/shipments/${id}/packages`, body, {
    'idempotency-key': key,
    'x-sidecart-actor': actor,
  });
const handOver = (id: string, carrier = 'Royal Mail', tracking = 'AB1') =>
  callJson(app, 'POST', `/v1/shipments/${id}/hand-over`, { carrier, tracking });
const arrive = (id: string) => callJson(app, 'POST', `/v1/shipments/${id}/deliver`);
const lose = (id: string) => callJson(app, 'POST', `/v1/shipments/${id}/lose`, { reason: 'van burnt out' });

/** A shipment that was asked for, as `[order, shipment]`. */
async function created(lines = LINES): Promise<[order: string, id: string]> {
  const order = newId('ord');
  expect((await create(order, lines)).status).toBe(200);
  return [order, (await shipmentOf(order)).id];
}

/** One that has left. */
async function left(lines = LINES): Promise<[order: string, id: string]> {
  const [order, id] = await created(lines);
  expect((await pack(id)).status).toBe(201);
  expect((await handOver(id)).status).toBe(200);
  return [order, id];
}

/** What shipping told the world about an order. */
const told = async (order: string) => (await own.outbox()).filter(({ key }) => key === order);
const typesTold = async (order: string) => (await told(order)).map(({ type }) => type);

async function deadLetters(order: string): Promise<string[]> {
  const rows = await own.eyes<{ detail: string }[]>`SELECT detail FROM dead_letter WHERE msg_key = ${order}`;
  return rows.map((row) => row.detail);
}

describe('the way of a shipment', () => {
  test('created, packed, handed over, delivered: each step is told, and what is read is what the contract says', async () => {
    const [order, id] = await created();
    const shipment = {
      id,
      order_id: order,
      status: 'preparing',
      lines: LINES,
      packages: [],
      created_at: NOW,
      updated_at: NOW,
    };
    expect(await read(id)).toEqual(shipment);
    expect(id).toMatch(/^shp_/);

    const hearts = { lines: [line('HEART', 3)], weight_grams: 450 };
    const first = await pack(id, hearts);
    expect([first.status, first.body.packages]).toEqual([201, [{ id: expect.any(String), ...hearts }]]);
    const second = await pack(id);
    expect(second.body.packages).toEqual([
      first.body.packages[0],
      { id: expect.stringMatching(/^pkg_/), lines: [line('LANTERN', 2)] },
    ]);
    expect(Shipment.parse(second.body)).toEqual(second.body);

    const gone = await handOver(id);
    expect(gone.body).toEqual({
      ...second.body,
      status: 'handed_over',
      carrier: 'Royal Mail',
      tracking: 'AB1',
    });
    const there = await arrive(id);
    expect(there.body).toEqual({ ...gone.body, status: 'delivered' });
    expect(await read(id)).toEqual(there.body);

    const subject = { order_id: order, shipment_id: id };
    const facts = await told(order);
    expect(facts.every(({ topic }) => topic === 'shipping')).toBe(true);
    expect(facts.map(({ type, data }) => [type, data])).toEqual([
      ['ShipmentCreated', { ...subject, created_at: NOW }],
      [
        'ShipmentHandedOver',
        { ...subject, lines: LINES, carrier: 'Royal Mail', tracking: 'AB1', handed_over_at: NOW },
      ],
      ['ShipmentDelivered', { ...subject, delivered_at: NOW }],
    ]);
    for (const { type, data } of facts)
      expect(catalog[type as 'ShipmentCreated'].schema.safeParse(data).success).toBe(true);
  });

  test('lost in place of delivered', async () => {
    const [order, id] = await left();
    expect((await lose(id)).body.status).toBe('lost');
    expect((await told(order)).at(-1)).toMatchObject({
      type: 'ShipmentLost',
      data: { order_id: order, shipment_id: id, reason: 'van burnt out' },
    });
  });

  test('without tracking has none', async () => {
    const [order, id] = await created();
    await pack(id);
    const { body } = await callJson(app, 'POST', `/v1/shipments/${id}/hand-over`, { carrier: 'van' });
    expect(body.carrier).toBe('van');
    expect(body).not.toHaveProperty('tracking');
    expect((await told(order)).at(-1)?.data).not.toHaveProperty('tracking');
  });

  test('five hundred lines', async () => {
    const lines = Array.from({ length: 500 }, (_, i) => line(`S-${i}`, 1));
    const [, id] = await left(lines);
    expect(await read(id)).toMatchObject({ status: 'handed_over', lines, packages: [{ lines }] });
  });
});

describe('an order has one shipment', () => {
  test('whatever comes twice, even at once and with other lines', async () => {
    const order = newId('ord');
    const id = uuidv7();
    const all = await Promise.all([
      create(order, LINES, id),
      create(order, LINES, id),
      create(order, LINES),
      create(order, LINES),
    ]);
    expect(all.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
    await create(order, FEWER);
    const { items } = await list(`order_id=${order}`);
    expect(items).toHaveLength(1);
    expect((await read(items[0].id)).lines).toEqual(LINES);
    expect(await typesTold(order)).toEqual(['ShipmentCreated']);
    expect(await deadLetters(order)).toEqual([]);
  });

  test('or none, when it was cancelled ahead; nothing of that is listed', async () => {
    const order = newId('ord');
    await cancel(order);
    await create(order);
    await amend(order);
    await cancel(order);
    expect((await list(`order_id=${order}`)).items).toEqual([]);
    expect(await told(order)).toMatchObject([
      { type: 'ShipmentCancelled', data: { order_id: order, cancelled_at: NOW } },
    ]);
    expect(await deadLetters(order)).toEqual([]);
  });

  test('of the amended lines, when it was amended ahead', async () => {
    const order = newId('ord');
    const amendment = newId('amd');
    await amend(order, FEWER, amendment);
    expect((await list(`order_id=${order}`)).items).toEqual([]);
    await create(order);
    await amend(order, FEWER, amendment);
    expect((await read((await shipmentOf(order)).id)).lines).toEqual(FEWER);
    expect(await told(order)).toMatchObject([
      { type: 'ShipmentAmended', data: { amendment_id: amendment, lines: FEWER, amended_at: NOW } },
      { type: 'ShipmentCreated' },
    ]);
  });

  test('that a command of no sense does not change: it is kept as a dead letter', async () => {
    const order = newId('ord');
    await create(order, [line('HEART', 1), line('HEART', 2)]);
    expect(await deadLetters(order)).toEqual([expect.stringContaining('duplicate_line')]);
    expect(await own.eyes`SELECT 1 FROM shipments WHERE order_id = ${order}`).toHaveLength(0);
    expect(await told(order)).toEqual([]);
  });
});

describe('amending', () => {
  test('takes apart the packages that no longer fit; they are packed anew', async () => {
    const [order, id] = await created();
    await pack(id, { lines: [line('HEART', 2)] });
    await pack(id, { lines: [line('LANTERN', 2)] });
    await pack(id);
    const lines = [line('HEART', 1), line('LANTERN', 2)];
    await amend(order, lines);
    const amended = await read(id);
    expect(amended).toMatchObject({ status: 'preparing', lines });
    // The package of two hearts holds one too many; of the other two each still fits.
    expect(amended.packages.map((one: { lines: Line[] }) => one.lines)).toEqual([
      [line('LANTERN', 2)],
      [line('HEART', 1)],
    ]);
    expect((await handOver(id)).status).toBe(200);
    expect((await told(order)).at(-1)).toMatchObject({ type: 'ShipmentHandedOver', data: { lines } });
  });

  test('so that pieces are missing: the hand-over is refused, naming them', async () => {
    const [order, id] = await created();
    await pack(id);
    await amend(order);
    const refused = await handOver(id);
    expect([refused.status, refused.body.code]).toEqual([409, 'not_all_packed']);
    expect(refused.body.errors).toMatchObject([{ pointer: 'path:id', sku: 'HEART', quantity: 1 }]);
    await pack(id);
    expect((await handOver(id)).status).toBe(200);
  });

  test('or cancelling what has left changes nothing, and is no dead letter', async () => {
    const [order, id] = await left();
    const before = await read(id);
    await amend(order);
    await cancel(order);
    expect(await read(id)).toEqual(before);
    expect(await typesTold(order)).toEqual(['ShipmentCreated', 'ShipmentHandedOver']);
    expect(await deadLetters(order)).toEqual([]);
  });
});

describe('packing', () => {
  test('once per key, also when asked ten times at once', async () => {
    const [, id] = await created();
    const key = uuidv7();
    const body = { lines: [line('HEART', 1)] };
    const all = await Promise.all(Array.from({ length: 10 }, () => pack(id, body, key)));
    expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(all.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(9);
    expect((await read(id)).packages).toHaveLength(1);
    for (const other of [await pack(id, {}, key), await pack((await created())[1], body, key)])
      expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
    expect((await pack(id, body, key, 'bob')).status).toBe(201);
  });

  test('more than is left is refused and leaves the key unused', async () => {
    const [, id] = await created();
    await pack(id, { lines: [line('HEART', 2)] });
    const key = uuidv7();
    const refused = await pack(id, { lines: [line('HEART', 2)] }, key);
    expect([refused.status, refused.body.code]).toEqual([409, 'more_than_left_to_pack']);
    expect(refused.body.errors).toMatchObject([{ pointer: '/lines/0/quantity', left: 1 }]);
    expect((await pack(id, { lines: [line('HEART', 1)] }, key)).status).toBe(201);
  });

  test('nothing, or what has left, was cancelled or is not there, is refused', async () => {
    const [, full] = await created();
    await pack(full);
    const [, gone] = await left();
    const [order, off] = await created();
    await cancel(order);
    for (const [id, status, code] of [
      [full, 409, 'nothing_left_to_pack'],
      [gone, 409, 'shipment_has_left'],
      [off, 409, 'shipment_cancelled'],
      [newId('shp'), 404, 'not_found'],
    ] as const) {
      const { body, ...answer } = await pack(id);
      expect([answer.status, body.code]).toEqual([status, code]);
    }
  });

  /** Two packages of the same pieces, both as far as they can come before either may go on. */
  async function packTwiceAtOnce() {
    const [, id] = await created([line('HEART', 3)]);
    const both: ReturnType<typeof pack>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM shipments WHERE id = ${id} FOR UPDATE`;
      both.push(pack(id, { lines: [line('HEART', 2)] }), pack(id, { lines: [line('HEART', 2)] }));
      await own.blocked(2);
    });
    return (await Promise.all(both)).map(({ status }) => status).sort();
  }

  test('the same pieces into two packages at once: one of them is refused', async () => {
    expect(await packTwiceAtOnce()).toEqual([201, 409]);
  });

  test('control: without the row lock both are packed', async () => {
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    expect(await packTwiceAtOnce()).toEqual([201, 201]);
  });
});

describe('handing over', () => {
  test('again is answered as it is, whoever asks', async () => {
    const [order, id] = await left();
    const before = await read(id);
    const again = await handOver(id, 'DPD', 'XY9');
    expect([again.status, again.body]).toEqual([200, before]);
    await arrive(id);
    expect((await handOver(id)).body).toMatchObject({ status: 'delivered', carrier: 'Royal Mail' });
    expect(await typesTold(order)).toEqual(['ShipmentCreated', 'ShipmentHandedOver', 'ShipmentDelivered']);
  });

  test('what is cancelled or not there is refused', async () => {
    const [order, id] = await created();
    await pack(id);
    await cancel(order);
    const refused = await handOver(id);
    expect([refused.status, refused.body.code]).toEqual([409, 'shipment_cancelled']);
    expect(await read(id)).toMatchObject({ status: 'cancelled', lines: LINES });
    expect(await handOver(newId('shp'))).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  /** A hand-over and what orders asks for. Who is first has decided, and is held up only then; the other comes as far as it can. */
  async function race(first: (o: string, id: string) => Promise<JsonAnswer>, then: typeof first) {
    const [order, id] = await created();
    await pack(id);
    const both: Promise<JsonAnswer>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM outbox_sequence WHERE msg_key = ${order} FOR UPDATE`;
      both.push(first(order, id));
      await own.blocked(1);
      both.push(then(order, id));
      await own.blocked(2);
    });
    const codes = (await Promise.all(both)).flatMap(({ body }) => body.code ?? []);
    return [...(await typesTold(order)).slice(1), ...codes];
  }
  const handedOver = (_: string, id: string) => handOver(id);

  test('while orders cancels has one outcome', async () => {
    expect(await race(handedOver, (order) => cancel(order))).toEqual(['ShipmentHandedOver']);
    expect(await race((order) => cancel(order), handedOver)).toEqual([
      'ShipmentCancelled',
      'shipment_cancelled',
    ]);
  });

  test('while orders amends: what leaves is what was answered', async () => {
    expect(await race(handedOver, (order) => amend(order))).toEqual(['ShipmentHandedOver']);
    // The packages were of the earlier lines, so they do not leave.
    expect(await race((order) => amend(order), handedOver)).toEqual(['ShipmentAmended', 'not_all_packed']);
  });

  test('control: without the row lock an order is both cancelled and handed over', async () => {
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    expect(await race((order) => cancel(order), handedOver)).toEqual([
      'ShipmentCancelled',
      'ShipmentHandedOver',
    ]);
  });
});

describe('the end', () => {
  test('is the first one; the other and repeated ones are answered as it is', async () => {
    const [order, id] = await left();
    await arrive(id);
    for (const again of [await arrive(id), await lose(id)])
      expect([again.status, again.body.status]).toEqual([200, 'delivered']);
    expect((await typesTold(order)).slice(2)).toEqual(['ShipmentDelivered']);

    const [, other] = await left();
    await lose(other);
    expect((await arrive(other)).body.status).toBe('lost');
  });

  /** Both have come as far as they can before either may go on. */
  async function bothAtOnce() {
    const [order, id] = await left();
    const both: Promise<JsonAnswer>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM shipments WHERE id = ${id} FOR UPDATE`;
      both.push(arrive(id), lose(id));
      await own.blocked(2);
    });
    await Promise.all(both);
    return (await typesTold(order)).slice(2);
  }

  test('of both at once is one of them', async () => {
    expect(await bothAtOnce()).toHaveLength(1);
  });

  test('control: without the row lock it is both delivered and lost', async () => {
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    expect((await bothAtOnce()).sort()).toEqual(['ShipmentDelivered', 'ShipmentLost']);
  });

  test('of what has not left is refused', async () => {
    const [, id] = await created();
    await pack(id);
    for (const early of [await arrive(id), await lose(id)])
      expect([early.status, early.body.code]).toEqual([409, 'shipment_not_handed_over']);
    expect((await read(id)).status).toBe('preparing');
  });
});

describe('one transaction', () => {
  const broken = (): Outbox<Catalog> => ({
    ...outbox,
    publish: async (tx, ...facts) => {
      await outbox.publish(tx, ...facts);
      throw new Error('the last step fails');
    },
  });

  test('holds the hand-over and what is told of it', async () => {
    const [order, id] = await created();
    await pack(id);
    const before = await read(id);
    const failing = await callJson(appWith(broken()), 'POST', `/v1/shipments/${id}/hand-over`, {
      carrier: 'van',
    });
    expect(failing.status).toBe(500);
    expect(await read(id)).toEqual(before);
    expect(await typesTold(order)).toEqual(['ShipmentCreated']);
  });

  test('holds the shipment, its inbox row and what is told of it: a failed delivery leaves none, and comes again', async () => {
    const order = newId('ord');
    const id = uuidv7();
    expect((await create(order, LINES, id, appWith(broken()))).status).not.toBe(200);
    expect(await own.eyes`SELECT 1 FROM shipments WHERE order_id = ${order}`).toHaveLength(0);
    expect((await create(order, LINES, id)).status).toBe(200);
    expect(await typesTold(order)).toEqual(['ShipmentCreated']);
  });
});

describe('orders and the warehouse at once', () => {
  const step = fc.constantFrom('create', 'create', 'amend', 'cancel', 'pack', 'pack', 'hand over', 'end');

  test('leave each order with one shipment that has left whole or was cancelled, and one answer to orders', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 2, maxLength: 8 }), { minLength: 2, maxLength: 6 }),
        async (plays) => {
          await Promise.all(plays.map(play));
        },
      ),
      { numRuns: 25, seed },
    );
  });

  /** Commands of orders at once with those of the warehouse, as far as it finds the shipment. */
  async function play(steps: string[]) {
    const order = newId('ord');
    const amendment = newId('amd');
    const find = async (then: (id: string) => Promise<{ status: number }>) => {
      const shipment = await shipmentOf(order);
      return shipment ? then(shipment.id) : { status: 404 };
    };
    const doing: Record<string, () => Promise<{ status: number }>> = {
      create: () => create(order),
      amend: () => amend(order, FEWER, amendment),
      cancel: () => cancel(order),
      pack: () => find((id) => pack(id)),
      'hand over': () => find((id) => handOver(id)),
      end: () => find(arrive),
    };
    // Two at a time: what races is up to the database.
    for (let i = 0; i < steps.length; i += 2) {
      const answers = await Promise.all(steps.slice(i, i + 2).map((name) => doing[name]?.()));
      for (const answer of answers) expect([200, 201, 404, 409]).toContain(answer?.status);
    }
    const facts = await told(order);
    const count = (type: string) => facts.filter((fact) => fact.type === type).length;
    expect(count('ShipmentCreated')).toBeLessThanOrEqual(1);
    expect(count('ShipmentAmended')).toBeLessThanOrEqual(1);
    expect(count('ShipmentCancelled') + count('ShipmentHandedOver')).toBeLessThanOrEqual(1);
    expect(await deadLetters(order)).toEqual([]);
    const summary = await shipmentOf(order);
    if (!summary) return;
    const { lines, packages } = await read(summary.id);
    expect(lines).toEqual(count('ShipmentAmended') > 0 ? FEWER : LINES);
    if (count('ShipmentHandedOver') === 0) return;
    const packed = packages.flatMap((one: { lines: Line[] }) => one.lines);
    expect(packed).toEqual(lines);
    expect(facts.find(({ type }) => type === 'ShipmentHandedOver')?.data).toMatchObject({ lines });
    const answers = facts.map(({ type }) => type);
    expect(answers.lastIndexOf('ShipmentAmended')).toBeLessThan(answers.indexOf('ShipmentHandedOver'));
  }
});

describe('lists', () => {
  test('are newest first, page by page, by status and by order', async () => {
    for (let i = 0; i < 3; i++) await left();
    const seen: { id: string; status: string }[] = [];
    let cursor = '';
    do {
      const page = await list(`status=handed_over&limit=2${cursor}`);
      seen.push(...page.items);
      cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : '';
    } while (cursor !== '');
    const all = await own.eyes<{ id: string }[]>`
      SELECT id FROM shipments WHERE status = 'handed_over' ORDER BY id DESC`;
    expect(all.length).toBeGreaterThanOrEqual(3);
    expect(seen.map(({ id }) => id)).toEqual(all.map(({ id }) => id));
    expect(seen[0]).not.toHaveProperty('lines');

    const [order, id] = await created();
    expect((await list(`order_id=${order}`)).items).toEqual([
      { id, order_id: order, status: 'preparing', created_at: NOW, updated_at: NOW },
    ]);
    expect((await list(`order_id=${order}&status=lost`)).items).toEqual([]);
  });

  test('a shipment that is not there is not found', async () => {
    const answer = await callJson(app, 'GET', `/v1/shipments/${newId('shp')}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });
});
