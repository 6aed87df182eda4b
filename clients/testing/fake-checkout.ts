import { addMoney, gbp, multiplyMoney, sameMoney } from '@sidecart/contracts/money';
import {
  CancelOrder,
  type HistoryEntry,
  NewOrder,
  NewRefund,
  type Order,
  type Progress,
  Settlement,
} from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import type { Ask } from '../gateway-client.ts';
import type { FakeCatalogue } from './fake-catalogue.ts';
import { type FakeAnswer, type FakeWorld, ok, page, problem, type Serve } from './fake-http.ts';
import type { FakeWarehouse } from './fake-warehouse.ts';

/** The fake of orders and payments, with the provider's tokens. */
export interface FakeCheckout {
  serve: Serve;
  orders: Map<string, Order>;
  payments: Map<string, Payment>;
}

interface PendingRefund {
  id: string;
  lines: { sku: string; quantity: number }[];
  amount: number;
}

export function createFakeCheckout(
  world: FakeWorld,
  catalogue: FakeCatalogue,
  warehouse: FakeWarehouse,
): FakeCheckout {
  const { requests, now, newId } = world;
  const orders = new Map<string, Order>();
  const payments = new Map<string, Payment>();
  const tokens = new Map<string, string>();
  const histories = new Map<string, HistoryEntry[]>();
  const refundsAsked = new Map<string, PendingRefund[]>();
  const refusedRefunds = new Map<string, PendingRefund>();
  const orderByKey = new Map<string, string>();
  const refundKeys = new Set<string>();

  /** Notes what has happened to an order, and what it waits for from now on. */
  function happen(
    order: Order,
    type: string,
    step: Progress['step'] | undefined,
    changes: Partial<Order> = {},
  ) {
    const at = now();
    Object.assign(order, changes, { updated_at: at });
    if (step === undefined) delete order.progress;
    else order.progress = { step, since: at, waits_for: `the step ${step}` };
    const history = histories.get(order.id) ?? [];
    history.push({ version: history.length + 1, type, at, actor: 'anonymous', details: {} });
    histories.set(order.id, history);
  }

  function operate(
    order: Order,
    kind: Payment['operations'][number]['kind'],
    amount: number,
    refused = false,
  ) {
    const payment = payments.get(order.id) as Payment;
    const at = now();
    payment.operations.push({
      kind,
      amount: gbp(amount),
      state: refused ? 'refused' : 'succeeded',
      attempts: 1,
      requested_at: at,
      settled_at: at,
    });
    if (refused) return;
    if (kind === 'authorise') Object.assign(payment, { status: 'authorised', authorised: gbp(amount) });
    if (kind === 'capture') Object.assign(payment, { status: 'captured', captured: gbp(amount) });
    if (kind === 'void') payment.status = 'voided';
    if (kind === 'refund') payment.refunded = gbp(payment.refunded.amount + amount);
  }

  /** The next step of an order, from what the others have said by now. */
  function advance(order: Order): void {
    const told = warehouse.shipments.get(order.id)?.status;
    const hasLeft = told === 'handed_over' || told === 'delivered' || told === 'lost';
    if (order.status === 'placed') reserveAndAuthorise(order);
    else if (order.progress?.step === 'cancel' && warehouse.cancel(order.id)) cancelled(order);
    else if (order.status === 'confirmed' && hasLeft) {
      operate(order, 'capture', order.total.amount);
      happen(order, 'OrderShipped', 'deliver', { status: 'shipped', paid: order.total });
    } else if (order.status === 'shipped' && told === 'delivered') {
      happen(order, 'OrderDelivered', undefined, { status: 'delivered' });
    } else if (order.status === 'shipped' && told === 'lost') {
      happen(order, 'OrderLost', 'refund', { status: 'lost' });
      askRefund(order, leftToRefund(order), false);
    } else {
      const asked = refundsAsked.get(order.id)?.shift();
      if (asked) payBack(order, asked);
    }
  }

  function reserveAndAuthorise(order: Order): void {
    const short = order.lines.flatMap(({ sku, quantity }) => {
      const available = catalogue.stock.get(sku)?.on_hand ?? 0;
      return available < quantity ? [{ sku, requested: quantity, available }] : [];
    });
    if (short.length > 0) reject(order, { reason: 'out_of_stock', lines: short });
    else if (authorise(order)) {
      catalogue.move(order.lines, 'on_hand', 'committed');
      warehouse.create(order.id, order.lines);
      happen(order, 'OrderConfirmed', 'hand_over', { status: 'confirmed' });
    } else reject(order, { reason: 'payment_declined', lines: [] });
  }

  function reject(order: Order, rejection: NonNullable<Order['rejection']>): void {
    happen(order, 'OrderRejected', undefined, { status: 'rejected', rejection });
  }

  /** Whether the money is held. */
  function authorise(order: Order): boolean {
    const isDeclined = tokens.get(order.id) === 'tok_declined';
    const payment: Payment = {
      id: newId('pay'),
      order_id: order.id,
      status: 'declined',
      authorised: gbp(0),
      captured: gbp(0),
      refunded: gbp(0),
      operations: [],
    };
    payments.set(order.id, payment);
    operate(order, 'authorise', order.total.amount, isDeclined);
    return !isDeclined;
  }

  function cancelled(order: Order): void {
    catalogue.move(order.lines, 'committed', 'on_hand');
    operate(order, 'void', order.total.amount);
    happen(order, 'OrderCancelled', undefined, { status: 'cancelled', cancellation: {} });
  }

  function askRefund(order: Order, lines: PendingRefund['lines'], restock: boolean): void {
    let amount = 0;
    for (const { sku, quantity } of lines) {
      const line = lineOf(order, sku);
      line.refunded = (line.refunded ?? 0) + quantity;
      if (restock) line.restocked = (line.restocked ?? 0) + quantity;
      amount += quantity * line.unit_price.amount;
    }
    if (restock) catalogue.move(lines, 'committed', 'on_hand');
    const pending = { id: newId('rfd'), lines, amount };
    refundsAsked.set(order.id, [...(refundsAsked.get(order.id) ?? []), pending]);
    happen(order, 'RefundRequested', order.status === 'shipped' ? 'deliver' : 'refund');
  }

  function payBack(order: Order, refund: PendingRefund): void {
    const more = (refundsAsked.get(order.id) ?? []).length > 0;
    const step = order.status === 'shipped' ? 'deliver' : more ? 'refund' : undefined;
    if (tokens.get(order.id) === 'tok_refund_refused') {
      operate(order, 'refund', refund.amount, true);
      for (const { sku, quantity } of refund.lines) {
        const line = lineOf(order, sku);
        line.refunded = (line.refunded ?? 0) - quantity;
      }
      refusedRefunds.set(order.id, refund);
      happen(order, 'PersonNeeded', 'person');
      const person = {
        problem: 'the provider refuses',
        problem_code: 'refund_refused',
        refund_id: refund.id,
      };
      Object.assign(order.progress as Progress, person);
      return;
    }
    operate(order, 'refund', refund.amount);
    happen(order, 'OrderRefunded', step, {
      refunded: addMoney([order.refunded ?? gbp(0), gbp(refund.amount)]),
    });
  }

  function place(key: string, body: unknown): FakeAnswer {
    const { customer_id, lines: wanted, payment_token } = NewOrder.parse(body);
    requests.push(`ORDER ${key}`);
    const known = orders.get(orderByKey.get(key) ?? '');
    if (known) return ok(known);
    const errors = wanted.flatMap(({ sku, unit_price }, i) => {
      const current = catalogue.priceOf(sku);
      if (current && sameMoney(current, unit_price)) return [];
      return [{ pointer: `/lines/${i}/unit_price`, code: 'price_changed', current }];
    });
    if (errors.some(({ current }) => !current)) return problem(422, 'unknown_product');
    if (errors.length > 0) return problem(409, 'price_changed', errors);
    const lines = wanted.map((line) => ({
      ...line,
      line_total: multiplyMoney(line.unit_price, line.quantity),
    }));
    const at = now();
    const order: Order = {
      id: newId('ord'),
      status: 'placed',
      ...(customer_id !== undefined && { customer_id }),
      lines,
      total: addMoney(lines.map((line) => line.line_total)),
      placed_at: at,
      updated_at: at,
    };
    orders.set(order.id, order);
    orderByKey.set(key, order.id);
    tokens.set(order.id, payment_token);
    happen(order, 'OrderPlaced', 'reserve');
    return ok(order, 201);
  }

  function cancel(order: Order, body: unknown): FakeAnswer {
    CancelOrder.parse(body);
    requests.push(`CANCEL ${order.id}`);
    if (order.status === 'cancelled') return ok(order);
    if (order.status === 'placed') {
      happen(order, 'OrderCancelled', undefined, { status: 'cancelled', cancellation: {} });
      return ok(order);
    }
    if (order.status !== 'confirmed') return problem(409, 'order_not_cancellable');
    happen(order, 'CancellationRequested', 'cancel');
    return ok(order, 202);
  }

  function refund(order: Order, key: string, body: unknown): FakeAnswer {
    const { lines, restock } = NewRefund.parse(body);
    requests.push(`REFUND ${order.id} ${lines?.map((line) => `${line.quantity} ${line.sku}`) ?? 'all'}`);
    if (refundKeys.has(key)) return ok(order);
    if (!order.paid) return problem(409, 'order_not_refundable');
    const left = leftToRefund(order);
    const chosen = lines ?? left;
    if (chosen.length === 0) return problem(409, 'nothing_to_refund');
    const tooMuch = chosen.some(
      ({ sku, quantity }) => quantity > (left.find((line) => line.sku === sku)?.quantity ?? 0),
    );
    if (tooMuch) return problem(409, 'refund_too_much');
    refundKeys.add(key);
    askRefund(order, chosen, restock);
    return ok(order, 202);
  }

  function settle(order: Order, body: unknown): FakeAnswer {
    const { resolution } = Settlement.parse(body);
    const refused = refusedRefunds.get(order.id);
    if (!refused) return problem(409, 'nothing_to_settle');
    if (resolution === 'try_again') return problem(409, 'settlement_not_possible');
    refusedRefunds.delete(order.id);
    happen(order, 'OrderSettled', undefined);
    return ok(order);
  }

  /** Newest first; without lines, as in the shop. */
  function list(query: URLSearchParams): FakeAnswer {
    const attention = query.get('attention') === 'true';
    const listed = [...orders.values()].reverse().flatMap(({ lines: _, ...summary }) => {
      const wanted = !attention || summary.progress?.step === 'person';
      return wanted && (query.get('status') ?? summary.status) === summary.status ? [summary] : [];
    });
    return page(listed, query);
  }

  function serveOrder(ask: Ask, order: Order, action: string | undefined): FakeAnswer | undefined {
    switch (`${ask.method} ${action ?? ''}`) {
      case 'GET ':
        advance(order);
        return ok(order);
      case 'GET history':
        return ok({ items: histories.get(order.id) });
      case 'POST cancel':
        return cancel(order, ask.body);
      case 'POST refunds':
        return refund(order, ask.key ?? '', ask.body);
      case 'POST settlement':
        return settle(order, ask.body);
    }
    return undefined;
  }

  return {
    orders,
    payments,
    serve(ask, [resource, id, action], query) {
      if (resource === 'payments') {
        const listed = [...payments.values()].reverse();
        const orderId = query.get('order_id');
        return page(orderId === null ? listed : listed.filter(({ order_id }) => order_id === orderId), query);
      }
      if (resource !== 'orders') return undefined;
      if (id === undefined) return ask.method === 'POST' ? place(ask.key ?? '', ask.body) : list(query);
      const order = orders.get(id);
      return order ? serveOrder(ask, order, action) : problem(404, 'not_found');
    },
  };
}

function leftToRefund(order: Order): { sku: string; quantity: number }[] {
  return order.lines
    .map(({ sku, quantity, refunded = 0 }) => ({ sku, quantity: quantity - refunded }))
    .filter(({ quantity }) => quantity > 0);
}

function lineOf(order: Order, sku: string): Order['lines'][number] {
  return order.lines.find((line) => line.sku === sku) as Order['lines'][number];
}
