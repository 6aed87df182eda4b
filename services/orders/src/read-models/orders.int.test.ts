import { isDeepStrictEqual } from 'node:util';
import { byIndex } from '@sidecart/event-sourcing/reader';
import { callJson } from '@sidecart/kit/testing';
import { runPrepared } from '@sidecart/messaging/prepared';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type ServiceDatabase, serviceDatabase } from '../../../../tests/service-fixture.ts';
import { answersAbout, BODY, gbp, ordersService, orderThatIs, type Service } from '../fixture-orders.ts';
import type { OrderEvent } from '../order-events.ts';
import { evolve, initialState, type Order } from '../order-state.ts';
import { DASHBOARD, listOrders, ordersProjection, readDashboard } from './orders.ts';

let own: ServiceDatabase;
let service: Service;
let app: Service['app'];
beforeAll(async () => {
  own = await serviceDatabase('orders');
  service = ordersService(own.database);
  app = service.app;
});
afterAll(() => own?.close());

const get = async (path: string) => (await callJson(app, 'GET', path)).body;
const pending = async () => (await get('/v1/dashboard')).pending_events;
const upToDate = () =>
  vi.waitFor(async () => expect(await pending()).toBe(0), { timeout: 20_000, interval: 10 });

interface Line {
  'QUERY PLAN': string;
}

/** A projector of its own; as another replica has it. */
function project(): Service['projector'] {
  const { projector } = ordersService(own.database);
  projector.start();
  onTestFinished(projector.stop);
  return projector;
}

/** The rows of the read model that is read, as text. */
async function rows(): Promise<string[]> {
  const all = await own.eyes<{ row: string }[]>`
    SELECT 'order ' || jsonb_build_object('id', id, 'status', s.status, 'customer', customer_id, 'attention', attention,
        'placed', placed_at, 'updated', updated_at, 'state', s.state::jsonb)::text AS row
    FROM order_summary s JOIN subscriptions u USING (generation) WHERE u.state = 'live'
    UNION ALL
    SELECT 'day ' || jsonb_build_object('day', day, 'placed', placed, 'units', units_shipped, 'takings', takings,
        'refunded', refunded)::text
    FROM order_day JOIN subscriptions u USING (generation) WHERE u.state = 'live' ORDER BY 1`;
  return all.map(({ row }) => row);
}

const generation = async () =>
  (await own.eyes<{ generation: number }[]>`SELECT generation FROM subscriptions WHERE state = 'live'`)[0]
    ?.generation;

test('before they are built for the first time, the figures say that they lack everything', async () => {
  await orderThatIs(app, 'placed');
  expect(await get('/v1/dashboard')).toMatchObject({ placed_orders: 0, pending_events: 1 });
  expect((await get('/v1/orders')).items).toEqual([]);
});

describe('the list', () => {
  test('is newest first, page by page, by status, by customer and by who needs a person', async () => {
    project();
    const mine = { ...BODY, customer_id: 'list-test' };
    const made: string[] = [];
    for (const status of ['placed', 'confirmed', 'delivered', 'confirmed'] as const)
      made.unshift(await orderThatIs(app, status, mine));
    await callJson(
      app,
      'POST',
      `/v1/orders/${made[1]}/refunds`,
      { reason: 'torn' },
      { 'idempotency-key': 'k' },
    );
    const asked = (await own.outbox()).findLast(({ type }) => type === 'RefundPayment');
    await answersAbout(app, made[1] ?? '').refundRefused(String(asked?.data.refund_id));
    await upToDate();
    const ids = async (query: string) =>
      (await get(`/v1/orders?customer_id=list-test${query}`)).items.map(({ id }: { id: string }) => id);
    expect(await ids('')).toEqual(made);
    expect(await ids('&status=confirmed')).toEqual([made[0], made[2]]);
    expect(await ids('&attention=true')).toEqual([made[1]]);
    expect(await ids('&attention=false')).toEqual([made[0], made[2], made[3]]);
    const first = await get('/v1/orders?customer_id=list-test&limit=3');
    expect(first.items).toHaveLength(3);
    expect(await ids(`&limit=3&cursor=${first.next_cursor}`)).toEqual([made[3]]);
    const [newest] = first.items;
    const { lines: _, ...summary } = await get(`/v1/orders/${made[0]}`);
    expect(newest).toEqual(summary);
  });
});

describe('the dashboard', () => {
  test('says what was placed, taken and given back, what is open, and what needs a person', async () => {
    project();
    await upToDate();
    const before = await get('/v1/dashboard');
    await orderThatIs(app, 'placed');
    await orderThatIs(app, 'confirmed');
    await orderThatIs(app, 'shipped');
    const delivered = await orderThatIs(app, 'delivered');
    const hearts = { lines: [{ sku: 'HEART', quantity: 1 }], reason: 'torn' };
    await callJson(app, 'POST', `/v1/orders/${delivered}/refunds`, hearts, { 'idempotency-key': 'k2' });
    const asked = (await own.outbox()).findLast(({ type }) => type === 'RefundPayment');
    await answersAbout(app, delivered).refunded(String(asked?.data.refund_id), 255);
    const refused = await orderThatIs(app, 'handed over');
    await answersAbout(app, refused).captureRefused();
    await upToDate();
    expect(await get('/v1/dashboard')).toEqual({
      open_orders: before.open_orders + 4,
      attention: before.attention + 1,
      placed_orders: before.placed_orders + 5,
      units_shipped: before.units_shipped + 10,
      takings: gbp(before.takings.amount + 2 * 2765),
      refunded: gbp(before.refunded.amount + 255),
      pending_events: 0,
    });
  });

  test('is at every moment of the same moment as the list, while orders are written and two replicas project them', async () => {
    project();
    project();
    let writing = true;
    let looks = 0;
    const differences: object[] = [];
    const look = async () => {
      while (writing) {
        const { list, dashboard } = await own.database.db.transaction(
          async (tx) => ({
            list: await listOrders(tx, { take: 10_000 }),
            dashboard: await readDashboard(tx),
          }),
          { isolationLevel: 'repeatable read' },
        );
        const paid = list.filter((order) => order.paid.amount > 0);
        const fromList = {
          openOrders: list.filter(({ status }) => ['placed', 'confirmed', 'shipped'].includes(status)).length,
          attention: list.filter(({ problems }) => problems.length > 0).length,
          placedOrders: list.length,
          unitsShipped: paid.flatMap(({ lines }) => lines).reduce((sum, { quantity }) => sum + quantity, 0),
          takings: list.reduce((sum, order) => sum + order.paid.amount, 0),
          refunded: list.reduce((sum, order) => sum + order.refunded.amount, 0),
        };
        const { pendingEvents: _, ...figures } = dashboard;
        looks++;
        if (!isDeepStrictEqual(fromList, figures)) differences.push({ fromList, figures });
      }
    };
    const looking = look();
    const write = async () => {
      for (let i = 0; i < 10; i++) await orderThatIs(app, 'delivered');
    };
    await Promise.all([write(), write(), write(), write()]);
    writing = false;
    await looking;
    expect(differences).toEqual([]);
    expect(looks).toBeGreaterThan(10);
    await upToDate();
    const dashboard = await get('/v1/dashboard');
    const [sum] = await own.eyes<{ placed: number; taken: number }[]>`
      SELECT count(*) FILTER (WHERE type = 'OrderPlaced')::int AS placed,
        sum((data -> 'paid' ->> 'amount')::int) FILTER (WHERE type = 'OrderShipped')::int AS taken FROM events`;
    expect([dashboard.placed_orders, dashboard.takings.amount]).toEqual([sum?.placed, sum?.taken]);
  });
});

test('the dashboard counts what it lacks by an index, also among many events of one transaction, as after an adoption', async () => {
  await own.eyes`INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta, xid)
    SELECT 'many-' || i, 1, gen_random_uuid(), 'OfNobody', 1, '{}', '{}', '3' FROM generate_series(1, 50000) AS i`;
  await own.eyes`ANALYZE events`;
  onTestFinished(async () => {
    await own.eyes`DELETE FROM events WHERE type = 'OfNobody'`;
  });
  const text = (lines: Line[]) => lines.map((line) => line['QUERY PLAN']).join('\n');
  const mayWalkThroughAll = /(Seq|Bitmap Heap) Scan on events\b/;
  const planned = await own.database.db.transaction(async (tx) => {
    const explain = () => runPrepared<Line>(tx, 'explain_dashboard', `EXPLAIN ${DASHBOARD}`, []);
    return { freely: text(await explain()), byIndex: text(await byIndex(tx, explain)) };
  });
  expect(planned.byIndex).not.toMatch(mayWalkThroughAll);
  // Control: as PostgreSQL likes.
  expect(planned.freely).toMatch(mayWalkThroughAll);
});

test('rows that are being built have no part in those that are read, nor the other way round', async () => {
  const orderId = 'ord_of_two_generations';
  const apply = (generation: number, ...events: OrderEvent[]) =>
    own.database.db.transaction((tx) =>
      ordersProjection.apply(
        tx,
        generation,
        events.map((event, i) => ({
          streamId: orderId,
          version: i + 1,
          at: new Date(event.at),
          meta: { actor: 'anonymous' },
          event,
        })),
      ),
    );
  const at = '2026-11-27T09:30:00.000Z';
  const lines = [{ sku: 'TEAPOT', quantity: 1, unitPrice: gbp(2500) }];
  const placed = {
    type: 'OrderPlaced',
    orderId,
    actor: 'anonymous',
    lines,
    total: gbp(2500),
    paymentToken: 'tok_ok',
    at,
  } as const;
  const [live, building] = [1001, 1002];
  await apply(live, placed, { type: 'StockHeld', at });
  await apply(building, placed);
  await apply(live, { type: 'OrderConfirmed', paymentId: 'pay_1', authorised: gbp(2500), at });
  await apply(building, { type: 'OrderCancelled', cause: 'customer', at });
  const states = await own.eyes<{ generation: number; state: Order }[]>`
    SELECT generation, state FROM order_summary WHERE id = ${orderId} ORDER BY generation`;
  expect(states).toMatchObject([
    { generation: live, state: { status: 'confirmed', paymentAsked: true } },
    { generation: building, state: { status: 'cancelled', paymentAsked: false } },
  ]);
  for (const generation of [live, building]) await ordersProjection.discard(own.database.db, generation, 10);
});

test('built anew, also while orders are written, it is what it was', async () => {
  const projector = project();
  await upToDate();
  const old = await generation();
  let writing = true;
  const write = async () => {
    while (writing) await orderThatIs(app, 'confirmed');
  };
  const writers = [write(), write()];
  await projector.rebuild('orders');
  await vi.waitFor(async () => expect(await generation()).toBe((old ?? 0) + 1), {
    timeout: 30_000,
    interval: 20,
  });
  writing = false;
  await Promise.all(writers);
  await upToDate();
  const live = await rows();
  await projector.rebuild('orders');
  await vi.waitFor(async () => expect(await generation()).toBe((old ?? 0) + 2), {
    timeout: 30_000,
    interval: 20,
  });
  await upToDate();
  expect(await rows()).toEqual(live);
  // What it has of each order is what the order itself has.
  const states = await own.eyes<{ id: string; state: object; events: [] }[]>`
    SELECT s.id, s.state, (SELECT json_agg(e.data || jsonb_build_object('type', e.type) ORDER BY e.version)
      FROM events e WHERE e.stream_id = s.id) AS events
    FROM order_summary s JOIN subscriptions u USING (generation) WHERE u.state = 'live'`;
  expect(states.length).toBeGreaterThan(10);
  for (const { state, events } of states) expect(events.reduce(evolve, initialState())).toEqual(state);
  // The rows of the one before are gone.
  await vi.waitFor(
    async () => {
      const left =
        await own.eyes`SELECT DISTINCT generation FROM order_summary UNION SELECT DISTINCT generation FROM order_day`;
      expect(left).toHaveLength(1);
    },
    { timeout: 10_000 },
  );
});
