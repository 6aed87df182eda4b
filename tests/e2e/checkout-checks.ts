import type { Movement, Stock } from '@sidecart/contracts/inventory';
import type { Dashboard, HistoryEntry, Order } from '@sidecart/contracts/orders';
import type { Shipment } from '@sidecart/contracts/shipping';
import type { OrderSummary } from '../../clients/shop-api.ts';
import type { Movement as MoneyMovement } from '../../provider/books.ts';
import { storyFaults } from './checkout-story.ts';

// What everybody says about some orders, held against each other when all is over. Pure; each returns what is wrong, in words.

/** An order and what else was written down about it. */
export interface Witnessed {
  order: Order;
  history: readonly HistoryEntry[];
  shipment: Pick<Shipment, 'status' | 'lines'> | undefined;
}

export interface Evidence {
  witnessed: readonly Witnessed[];
  /** By the provider: of all orders of the shop. */
  ledger: readonly MoneyMovement[];
  /** Every movement, and the stock, of the products of these orders; nobody else ordered them. */
  movements: readonly Movement[];
  stock: readonly Stock[];
  /** Of the whole shop. */
  list: readonly OrderSummary[];
  dashboard: Dashboard;
  /** Pieces of all orders of the shop that have left and are paid. */
  unitsShipped: number;
}

const FINAL: readonly Order['status'][] = ['delivered', 'lost', 'rejected', 'cancelled'];
const LEFT: readonly Order['status'][] = ['delivered', 'lost'];

export function checkoutFaults(evidence: Evidence): string[] {
  const { witnessed, ledger, movements, stock, list } = evidence;
  return [
    ...witnessed.flatMap((one) => [
      ...endFaults(one),
      ...storyFaults(one.order, one.history),
      ...moneyFaults(one, ledger),
      ...movementFaults(one, movements),
    ]),
    ...strayMoney(ledger, list),
    ...strayMovements(
      movements,
      witnessed.map(({ order }) => order.id),
    ),
    ...stockFaults(witnessed, stock),
    ...listFaults(witnessed, list),
    ...dashboardFaults(evidence),
  ];
}

/** At its end, and at the same one as its shipment. */
function endFaults({ order, shipment }: Witnessed): string[] {
  const { id, status, progress } = order;
  const faults: string[] = [];
  if (!FINAL.includes(status) || progress)
    faults.push(`order ${id}: not at its end: ${status}, ${progress?.step ?? 'no step'}`);
  const expected = LEFT.includes(status) ? status : shipment && 'cancelled';
  if (shipment?.status !== expected)
    faults.push(`order ${id}: ${status}, but its shipment is ${shipment?.status ?? 'not there'}`);
  return faults;
}

/** The provider's movements of one order: those that are due, each once. */
export function moneyFaults(
  { order, history, shipment }: Witnessed,
  ledger: readonly MoneyMovement[],
): string[] {
  const { id, status } = order;
  const of = ({ kind, key, amount }: Pick<MoneyMovement, 'kind' | 'key' | 'amount'>) =>
    `${key} ${kind} ${amount}`;
  const moved = ledger.filter(({ key }) => key.startsWith(`${id}.`));
  const held = moved.find(({ kind }) => kind === 'authorised');
  const due: Parameters<typeof of>[0][] = [];
  if (LEFT.includes(status)) {
    due.push({ kind: 'authorised', key: `${id}.authorise`, amount: moneyOf(history, 'OrderConfirmed') });
    const captureKey = moved.find(({ kind }) => kind === 'captured')?.key ?? `${id}.capture`;
    if (!wasWrittenOff(history) || order.paid)
      due.push({ kind: 'captured', key: captureKey, amount: valueOfLeft(order, shipment) });
    for (const { type, details } of history) {
      if (type !== 'OrderRefunded') continue;
      const { refundId, amount } = details as { refundId: string; amount: { amount: number } };
      due.push({ kind: 'refunded', key: `${id}.refund.${refundId}`, amount: amount.amount });
    }
    // Of what was lost, all comes back but what a person has seen to.
    if (status === 'lost' && !settled(history, 'refund_refused', 'refund_unanswered')) {
      const back = sum(moved.filter(({ kind }) => kind === 'refunded').map(({ amount }) => amount));
      const taken = sum(moved.filter(({ kind }) => kind === 'captured').map(({ amount }) => amount));
      if (back !== taken) due.push({ kind: 'refunded', key: `${id}, all that was lost`, amount: taken });
    }
  } else if (status === 'cancelled' && held) {
    due.push({ kind: 'authorised', key: `${id}.authorise`, amount: held.amount });
    // A person may have settled it without, and it may have been let go all the same.
    const isReleased = history.some(({ type }) => type === 'PaymentReleased');
    if (isReleased || !settled(history, 'void_refused', 'void_unanswered'))
      due.push({ kind: 'voided', key: `${id}.void`, amount: held.amount });
  }
  return difference(`money of ${id} (${status})`, due.map(of), moved.map(of));
}

/** Nothing moved of an order that nobody knows. */
export function strayMoney(ledger: readonly MoneyMovement[], orders: readonly { id: string }[]): string[] {
  const known = new Set(orders.map(({ id }) => id));
  return ledger
    .filter(({ key }) => !known.has(key.split('.')[0] ?? ''))
    .map(({ key, kind, amount }) => `money of nobody: ${key} ${kind} ${amount}`);
}

/** Inventory's movements of one order: set aside once, committed once, put back as much as it says, and what is kept is what left. */
export function movementFaults({ order, history }: Witnessed, movements: readonly Movement[]): string[] {
  const { id, status } = order;
  const own = movements.filter(({ order_id }) => order_id === id);
  const faults: string[] = [];
  const placed = history.find(({ type }) => type === 'OrderPlaced')?.details as
    | { lines: { sku: string; quantity: number }[] }
    | undefined;
  const wasHeld = history.some(({ type }) => type === 'StockHeld');
  const parts = history.filter(
    ({ type, details }) =>
      type === 'OrderAmended' || (type === 'RefundRequested' && details.restock === true),
  );
  for (const { sku, quantity } of placed?.lines ?? []) {
    const of = (kind: Movement['kind']) =>
      own.filter((m) => m.sku === sku && m.kind === kind).map((m) => m.quantity);
    const [reserved, committed, released] = [of('reserved'), of('committed'), of('released')];
    const say = (text: string) => faults.push(`stock of ${id} (${status}), ${sku}: ${text}`);
    const line = order.lines.find((each) => each.sku === sku);
    const kept = LEFT.includes(status) ? (line?.quantity ?? 0) - (line?.restocked ?? 0) : 0;
    if (reserved.length > 1 || (reserved.length === 1 && reserved[0] !== quantity))
      say(`set aside ${reserved}, of ${quantity}`);
    if (wasHeld && reserved.length === 0) say('never set aside');
    if (committed.length > 1) say(`committed ${committed}`);
    if (LEFT.includes(status) && (line?.quantity ?? 0) > 0 && committed.length === 0) say('never committed');
    if (sum(committed) > quantity) say(`committed ${committed}, of ${quantity}`);
    if (sum(reserved) - sum(released) !== kept)
      say(`set aside ${sum(reserved)}, put back ${sum(released)}, but ${kept} are with the customer`);
    if (released.length > parts.length + 1) say(`put back ${released}`);
  }
  return faults;
}

function strayMovements(movements: readonly Movement[], ids: readonly string[]): string[] {
  return movements
    .filter(({ order_id }) => order_id !== undefined && !ids.includes(order_id))
    .map(
      ({ sku, kind, quantity, order_id }) => `stock of nobody: ${sku} ${kind} ${quantity} for ${order_id}`,
    );
}

/** No piece is still set aside, and those that are gone are with the customers. */
export function stockFaults(witnessed: readonly Witnessed[], stock: readonly Stock[]): string[] {
  return stock.flatMap(({ sku, on_hand, reserved, committed, received }) => {
    const kept = sum(
      witnessed.flatMap(({ order }) =>
        LEFT.includes(order.status)
          ? order.lines.filter((line) => line.sku === sku).map((l) => l.quantity - (l.restocked ?? 0))
          : [],
      ),
    );
    const is = `received ${received}, on hand ${on_hand}, reserved ${reserved}, committed ${committed}`;
    const should = `received ${received}, on hand ${received - kept}, reserved 0, committed ${kept}`;
    return is === should ? [] : [`${sku}: ${is}; expected: ${should}`];
  });
}

/** Each order is in the list once, as it is. */
export function listFaults(witnessed: readonly Witnessed[], list: readonly OrderSummary[]): string[] {
  return witnessed.flatMap(({ order }) => {
    const { lines: _, rejection: __, cancellation: ___, ...summary } = order;
    const listed = list.filter(({ id }) => id === order.id);
    if (listed.length !== 1) return [`order ${order.id}: ${listed.length} times in the list`];
    const [is, should] = [listed[0], summary].map((each) => JSON.stringify(each, Object.keys(KEYS)));
    return is === should ? [] : [`order ${order.id}: in the list ${is}, but it is ${should}`];
  });
}

/** What is compared, in one order, and below it. */
const KEYS = {
  id: 1,
  status: 1,
  total: 1,
  paid: 1,
  refunded: 1,
  amount: 1,
  updated_at: 1,
  progress: 1,
  step: 1,
};

/** The figures are those of the list, and of the orders themselves where the list does not have them. */
export function dashboardFaults({
  dashboard,
  list,
  unitsShipped,
}: Pick<Evidence, 'dashboard' | 'list' | 'unitsShipped'>): string[] {
  const open = list.filter(({ status }) => ['placed', 'confirmed', 'shipped'].includes(status));
  const pairs: [string, number, number][] = [
    ['open orders', dashboard.open_orders, open.length],
    ['attention', dashboard.attention, list.filter(({ progress }) => progress?.step === 'person').length],
    ['placed orders', dashboard.placed_orders, list.length],
    ['takings', dashboard.takings.amount, sum(list.map(({ paid }) => paid?.amount ?? 0))],
    ['refunded', dashboard.refunded.amount, sum(list.map(({ refunded }) => refunded?.amount ?? 0))],
    ['units shipped', dashboard.units_shipped, unitsShipped],
    ['pending events', dashboard.pending_events, 0],
  ];
  return pairs
    .filter(([, is, should]) => is !== should)
    .map(([what, is, should]) => `dashboard: ${what} ${is}, but it should be ${should}`);
}

/** What left, by shipping, at the prices that the customer agreed to. */
function valueOfLeft({ lines }: Order, shipment: Witnessed['shipment']): number {
  const priceOf = (sku: string) => lines.find((line) => line.sku === sku)?.unit_price.amount ?? Number.NaN;
  return sum((shipment?.lines ?? []).map(({ sku, quantity }) => quantity * priceOf(sku)));
}

function moneyOf(history: readonly HistoryEntry[], type: string): number {
  const details = history.find((entry) => entry.type === type)?.details as
    | { authorised?: { amount: number } }
    | undefined;
  return details?.authorised?.amount ?? Number.NaN;
}

function settled(history: readonly HistoryEntry[], ...problems: string[]): boolean {
  return history.some(
    ({ type, details }) =>
      type === 'OrderSettled' &&
      problems.includes(String(details.problem)) &&
      details.resolution !== 'try_again',
  );
}

const wasWrittenOff = (history: readonly HistoryEntry[]) =>
  settled(history, 'capture_refused', 'capture_unanswered');

function difference(what: string, due: string[], moved: string[]): string[] {
  const missing = [...due];
  const extra = moved.filter((each) => {
    const at = missing.indexOf(each);
    if (at >= 0) missing.splice(at, 1);
    return at < 0;
  });
  return [
    ...missing.map((each) => `${what}: missing: ${each}`),
    ...extra.map((each) => `${what}: not due: ${each}`),
  ];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
