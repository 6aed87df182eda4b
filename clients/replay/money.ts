import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';

// The money in the books: what the orders say was paid and given back, what their pieces come to, and what payments says was taken.

/** In pence. */
export interface MoneyBooks {
  /** Handed over to the carrier and paid for, whether they have arrived or not. */
  leftOrders: number;
  /** By the orders. */
  paid: number;
  refunded: number;
  /** By the payments: taken, given back of it, and held for orders that have not left. */
  captured: number;
  paidBack: number;
  held: number;
  /** What does not agree, in words. */
  faults: string[];
  /** Orders, payments and pieces still on their way through the shop; while there are any, a fault may be one of timing. */
  unsettled: string[];
}

const LEFT: readonly Order['status'][] = ['shipped', 'delivered', 'lost'];
const UNDER_WAY: readonly Payment['status'][] = ['authorising', 'capturing', 'voiding'];
const NOT_HELD: readonly Payment['status'][] = ['declined', 'voided'];

/** What the pieces come to whose money was given back, or is being. */
export function valueOfRefunded({ lines }: Pick<Order, 'lines'>): number {
  return lines.reduce((sum, { refunded = 0, unit_price }) => sum + refunded * unit_price.amount, 0);
}

/** Enters every order's money and its payment. */
export async function enterMoney(
  books: MoneyBooks,
  orders: readonly Order[],
  payments: AsyncIterable<Payment> | Iterable<Payment>,
): Promise<void> {
  const byOrder = new Map<string, Payment>();
  for await (const payment of payments) {
    checkPayment(books, payment);
    if (byOrder.has(payment.order_id)) books.faults.push(`order ${payment.order_id}: two payments`);
    byOrder.set(payment.order_id, payment);
  }
  for (const order of orders) {
    enterOrder(books, order, byOrder.get(order.id));
    byOrder.delete(order.id);
  }
  for (const { id, order_id } of byOrder.values())
    books.faults.push(`payment ${id}: there is no order ${order_id}`);
}

function checkPayment(books: MoneyBooks, payment: Payment): void {
  const [authorised, captured, refunded] = amountsOf(payment);
  books.captured += captured;
  books.paidBack += refunded;
  if (refunded > captured || captured > authorised)
    books.faults.push(
      `payment ${payment.id}: ${authorised} authorised, ${captured} captured, ${refunded} refunded`,
    );
}

function enterOrder(books: MoneyBooks, order: Order, payment: Payment | undefined): void {
  const fault = (text: string) => books.faults.push(`order ${order.id}: ${text}`);
  const { total, status } = order;
  const paid = order.paid?.amount ?? 0;
  const refunded = order.refunded?.amount ?? 0;
  const [authorised, captured, paidBack] = payment ? amountsOf(payment) : [0, 0, 0];
  books.paid += paid;
  books.refunded += refunded;

  if (LEFT.includes(status)) {
    books.leftOrders++;
    // Of an order that has left and whose money was refused, or not answered for, a person has decided.
    const isDecided = paid === 0 && (wasRefused(payment, 'capture') || isPending(payment, 'capture'));
    if (isPending(payment, 'capture')) books.unsettled.push(`payment ${payment?.id} is ${payment?.status}`);
    if (paid !== total.amount && !isDecided)
      fault(`${status}, its lines come to ${total.amount}, but ${paid} pence are paid`);
  } else if (paid > 0 || captured > 0) {
    fault(`${status}, but ${Math.max(paid, captured)} pence are taken`);
  }
  const value = valueOfRefunded(order);
  if (refunded !== value) fault(`${refunded} pence refunded, but its pieces come to ${value}`);
  if (captured !== paid) fault(`${paid} pence paid, but payments has captured ${captured}`);
  if (paidBack !== refunded) fault(`${refunded} pence refunded, but payments has given back ${paidBack}`);
  enterHeld(books, order, payment, authorised);
}

/** Money is held for what is confirmed and has not left, and for nothing else. */
function enterHeld(books: MoneyBooks, order: Order, payment: Payment | undefined, authorised: number): void {
  const { id, status, total, progress } = order;
  if (status === 'placed' || LEFT.includes(status)) return;
  if (payment && UNDER_WAY.includes(payment.status)) {
    books.unsettled.push(`payment ${payment.id} is ${payment.status}`);
    return;
  }
  if (status === 'confirmed') {
    if (progress?.step !== 'hand_over') return;
    books.held += total.amount;
    if (payment?.status !== 'authorised' || authorised < total.amount)
      books.faults.push(`order ${id}: confirmed, but not all of ${total.amount} pence is held`);
  } else if (payment && !NOT_HELD.includes(payment.status) && !wasRefused(payment, 'void')) {
    books.faults.push(`order ${id}: ${status}, but its payment is ${payment.status}`);
  }
}

function wasRefused(payment: Payment | undefined, kind: 'capture' | 'void'): boolean {
  return has(payment, kind, 'refused');
}

/** The money may still come, though somebody has settled it without. */
function isPending(payment: Payment | undefined, kind: 'capture'): boolean {
  return has(payment, kind, 'pending');
}

function has(payment: Payment | undefined, kind: string, state: 'refused' | 'pending'): boolean {
  return payment?.operations.some((each) => each.kind === kind && each.state === state) ?? false;
}

function amountsOf({ authorised, captured, refunded }: Payment): [number, number, number] {
  return [authorised.amount, captured.amount, refunded.amount];
}
