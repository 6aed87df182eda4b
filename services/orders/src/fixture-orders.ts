import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { tableArchive } from '@sidecart/event-sourcing/archive';
import { createEventStore } from '@sidecart/event-sourcing/event-store';
import { createProjector, type Projector } from '@sidecart/event-sourcing/projector';
import type { Database } from '@sidecart/kit/db';
import { callJson, type JsonAnswer, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createDelayedRelease } from '@sidecart/messaging/delayed';
import { createLocalWorker } from '@sidecart/messaging/local-worker';
import { createOutbox, type Outbox } from '@sidecart/messaging/outbox';
import { onTestFinished } from 'vitest';
import { deliver } from '../../../tests/service-fixture.ts';
import { order } from './aggregate.ts';
import { createOrdersApp } from './app.ts';
import { type StepTimeouts, stepTimeouts } from './checkout.ts';
import type { HandlingDeps, OrderStore } from './commands.ts';
import type { GetQuotes } from './quotes.ts';
import { ordersProjection } from './read-models/orders.ts';
import { messagesToItself, subscriptions } from './subscriptions.ts';

// What the integration tests of orders share: the service as main.ts puts it together, on any database.

export const gbp = (amount: number) => ({ amount, currency: 'GBP' as const });
export const priced = (sku: string, quantity: number, amount: number) => ({
  sku,
  quantity,
  unit_price: gbp(amount),
});
export const BODY = { customer_id: '17850', lines: [priced('HEART', 3, 255), priced('LANTERN', 2, 1000)] };
export const PIECES = [
  { sku: 'HEART', quantity: 3 },
  { sku: 'LANTERN', quantity: 2 },
];
export const CLOCK = '2026-03-14T09:26:53.589Z';

const OWNS = ['orders', 'commands.inventory', 'commands.payments', 'commands.shipping'];

export function timeoutsOf(ms: number): StepTimeouts {
  return stepTimeouts({ reserve: ms, authorise: ms, hand_over: ms, deliver: ms, answer: ms });
}

export const currentPrices: GetQuotes = async (skus) =>
  skus.map((sku) => ({ sku, status: 'active' as const, unitPrice: gbp(sku === 'HEART' ? 255 : 1000) }));

export interface Service {
  app: ReturnType<typeof createOrdersApp>;
  handling: HandlingDeps;
  projector: Projector;
  /** Brings messages to oneself when they are due, until the test has ended. */
  work(): Promise<void>;
}

export function ordersService(
  database: Database,
  o: {
    getQuotes?: GetQuotes;
    timeouts?: StepTimeouts;
    /** The outbox that is written to, in place of the real one. */
    through?: (real: Outbox<Catalog>) => Outbox<Catalog>;
    /** The store that decides, in place of the real one. */
    deciding?: (real: OrderStore) => OrderStore;
    clock?: () => Date;
  } = {},
): Service {
  const deps = { ...testDeps('orders'), database };
  const clock = o.clock ?? (() => new Date(CLOCK));
  const projector = createProjector({
    ...deps,
    shapes: order.events,
    projections: [ordersProjection],
    archive: tableArchive,
    pollMs: 20,
  });
  const realStore = createEventStore({ ...deps, aggregate: order, onAppend: projector.appended });
  const store = o.deciding?.(realStore) ?? realStore;
  const handles = () => ({ ordered: false });
  const real = createOutbox({ service: 'orders', catalog, owns: OWNS, handles });
  const outbox = o.through?.(real) ?? real;
  const handling = { store, outbox, timeouts: o.timeouts ?? timeoutsOf(15 * 60_000) };
  const consumer = createConsumer({ ...deps, topics: subscriptions(handling, clock) });
  const local = messagesToItself(handling, clock);
  const app = createOrdersApp(deps, {
    ...handling,
    database,
    getQuotes: o.getQuotes ?? currentPrices,
    clock,
    archive: tableArchive,
    consumer,
    local,
    projector,
    topics: OWNS,
  });
  return {
    app,
    handling,
    projector,
    async work() {
      const worker = createLocalWorker({ ...deps, handlers: local, pollMs: 20 });
      const delayed = createDelayedRelease({
        ...deps,
        handlers: local,
        pollMs: 20,
        onReleased: worker.nudge,
      });
      await worker.start();
      onTestFinished(worker.stop);
      await delayed.start();
      onTestFinished(delayed.stop);
    },
  };
}

/** The answers of the others about one order, as the sidecar delivers them; with the `message` of an earlier one it is a duplicate. */
export function answersAbout(app: Service['app'], order_id: string) {
  const at = '2026-03-14T09:30:00.000Z';
  const payment_id = 'pay_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
  const shipment_id = 'shp_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
  const say = (type: keyof Catalog, data: object, message?: string): Promise<JsonAnswer> =>
    deliver(app, type, { order_id, ...data }, message);
  const short = [{ sku: 'HEART', requested: 3, available: 1 }];
  return {
    stockReserved: (message?: string) => say('StockReserved', { lines: PIECES }, message),
    stockRejected: (message?: string) => say('StockRejected', { lines: short }, message),
    authorised: (message?: string) =>
      say('PaymentAuthorised', { payment_id, amount: gbp(2765), authorised_at: at }, message),
    declined: (message?: string) =>
      say('PaymentDeclined', { payment_id, reason: 'insufficient_funds', declined_at: at }, message),
    captured: (amount = 2765, message?: string) =>
      say('PaymentCaptured', { payment_id, amount: gbp(amount), captured_at: at }, message),
    captureRefused: () => say('CaptureRefused', { payment_id, reason: 'expired', refused_at: at }),
    voided: () => say('PaymentVoided', { payment_id, voided_at: at }),
    voidRefused: () => say('VoidRefused', { payment_id, reason: 'too late', refused_at: at }),
    refunded: (refund_id: string, amount: number) =>
      say('PaymentRefunded', { payment_id, refund_id, amount: gbp(amount), refunded_at: at }),
    refundRefused: (refund_id: string) =>
      say('RefundRefused', { payment_id, refund_id, reason: 'card closed', refused_at: at }),
    shipmentAmended: (amendment_id: string, lines: object[]) =>
      say('ShipmentAmended', { amendment_id, lines, amended_at: at }),
    shipmentCancelled: () => say('ShipmentCancelled', { cancelled_at: at }),
    handedOver: (lines: object[] = PIECES) =>
      say('ShipmentHandedOver', {
        shipment_id,
        lines,
        carrier: 'Royal Mail',
        tracking: 'RM1',
        handed_over_at: at,
      }),
    delivered: () => say('ShipmentDelivered', { shipment_id, delivered_at: at }),
    lost: () => say('ShipmentLost', { shipment_id, reason: 'fell off', lost_at: at }),
  };
}

/** Places an order and brings it so far. */
export async function orderThatIs(
  app: Service['app'],
  status: 'placed' | 'held' | 'confirmed' | 'handed over' | 'shipped' | 'delivered',
  body: object = BODY,
): Promise<string> {
  const placed = await callJson(app, 'POST', '/v1/orders', body, { 'idempotency-key': crypto.randomUUID() });
  if (placed.status !== 201) throw new Error(`Not placed: ${JSON.stringify(placed.body)}`);
  const { id } = placed.body;
  const answers = answersAbout(app, id);
  const steps: [typeof status, () => Promise<JsonAnswer>][] = [
    ['held', answers.stockReserved],
    ['confirmed', answers.authorised],
    ['handed over', answers.handedOver],
    ['shipped', answers.captured],
    ['delivered', answers.delivered],
  ];
  const order = ['placed', ...steps.map(([name]) => name)];
  for (const [, step] of steps.slice(0, order.indexOf(status))) await step();
  return id;
}
