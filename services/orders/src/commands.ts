import type { Catalog } from '@sidecart/contracts/catalog';
import { duplicateLines } from '@sidecart/contracts/common';
import {
  type Amendment,
  NewOrder,
  type NewRefund,
  type Order,
  type Settlement,
} from '@sidecart/contracts/orders';
import type { EventStore, Handled } from '@sidecart/event-sourcing/event-store';
import { currentContext } from '@sidecart/kit/context';
import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { DomainError, refuse } from '@sidecart/kit/domain-error';
import { claimIdempotent, findIdempotent, fingerprint } from '@sidecart/kit/idempotency';
import { newId } from '@sidecart/kit/ids';
import type { Outbox } from '@sidecart/messaging/outbox';
import { commandsOf, deadlinesOf, factOf, type StepTimeouts } from './checkout.ts';
import type { OrderCommand, OrderEvent } from './order-events.ts';
import { existing, type OrderState, type Order as State } from './order-state.ts';
import type { GetQuotes } from './quotes.ts';
import { toOrder } from './view.ts';

export type OrderStore = EventStore<OrderState, OrderCommand, OrderEvent>;

/** What handling a command takes. */
export interface HandlingDeps {
  store: OrderStore;
  outbox: Outbox<Catalog>;
  timeouts: StepTimeouts;
}

export interface OrderDeps extends HandlingDeps {
  database: Database;
  getQuotes: GetQuotes;
  clock: () => Date;
}

export interface Placement {
  order: Order;
  /** True when the key had made this order before. */
  replayed: boolean;
}

/**
 * Places an order, once per (actor, key). Prices are asked for before the transaction begins, so that no lock
 * is held while another service is waited for; whatever is thrown leaves the key unused and nothing stored.
 */
export async function placeOrder(
  deps: OrderDeps,
  { key, body }: { key: string; body: NewOrder },
): Promise<Placement> {
  const { db } = deps.database;
  const actor = currentContext()?.actor ?? 'anonymous';
  const claim = { actor, key, fingerprint: fingerprint(asSent(body)) };
  const lines = body.lines.map(({ sku, quantity, unit_price }) => ({ sku, quantity, unitPrice: unit_price }));
  refuse('invalid', duplicateLines(lines));
  // Asked for at the same time as the key is looked up: nearly every key is new, and one that is not needs no prices.
  const quoting = deps.getQuotes(lines.map((line) => line.sku));
  quoting.catch(() => {});
  const earlier = await findIdempotent(db, claim);
  if (earlier !== undefined) return { order: await getOrder(deps, db, earlier), replayed: true };
  const quotes = await quoting;
  const orderId = newId('ord');
  const at = deps.clock().toISOString();
  const { customer_id: customerId, payment_token: paymentToken } = body;
  return db.transaction(async (tx) => {
    // Before the decision: of two at once the second gets the first one's order, even if a price changed in between.
    const claimed = await claimIdempotent(tx, { ...claim, resource: orderId });
    if (!claimed.claimed) return { order: await getOrder(deps, tx, claimed.resource), replayed: true };
    const place = {
      type: 'PlaceOrder' as const,
      orderId,
      actor,
      customerId,
      lines,
      quotes,
      paymentToken,
      at,
    };
    const { state } = await handle(tx, deps, orderId, place, { isNew: true });
    return { order: toOrder(state), replayed: false };
  });
}

/** Keys that were used before there were payments have the fingerprint of a body without a token: such a body is the same request. */
function asSent({ payment_token, ...body }: NewOrder): Partial<NewOrder> {
  return payment_token === NewOrder.shape.payment_token.parse(undefined) ? body : { ...body, payment_token };
}

/** Cancels an order that has not left; of one that is being packed, shipping is asked first. Again: changes nothing. */
export async function cancelOrder(
  deps: OrderDeps,
  orderId: string,
  reason: string | undefined,
): Promise<Order> {
  return toOrder(
    await change(deps, orderId, { type: 'CancelOrder', reason, at: deps.clock().toISOString() }),
  );
}

/** Takes pieces or lines off an order that has not left. `pending`: shipping has still to say whether it can be done. */
export async function amendOrder(
  deps: OrderDeps,
  orderId: string,
  { lines: changes, reason }: Amendment,
): Promise<{ order: Order; pending: boolean }> {
  const at = deps.clock().toISOString();
  const amend = { type: 'AmendOrder' as const, amendmentId: newId('amd'), changes, reason, at };
  const state = await change(deps, orderId, amend);
  return { order: toOrder(state), pending: state.amendment !== undefined };
}

/** Asks for money to be given back, once per (actor, key). */
export async function refundOrder(
  deps: OrderDeps,
  orderId: string,
  { key, body }: { key: string; body: NewRefund },
): Promise<{ order: Order; replayed: boolean }> {
  const { db } = deps.database;
  const actor = currentContext()?.actor ?? 'anonymous';
  const at = deps.clock().toISOString();
  const resource = newId('rfd');
  return db.transaction(async (tx) => {
    const claim = { actor, key, fingerprint: fingerprint({ orderId, ...body }), resource };
    const claimed = await claimIdempotent(tx, claim);
    if (!claimed.claimed) return { order: await getOrder(deps, tx, orderId), replayed: true };
    const { state } = await handle(tx, deps, orderId, {
      type: 'RefundOrder',
      refundId: resource,
      ...body,
      at,
    });
    return { order: toOrder(state), replayed: false };
  });
}

/** What a person has decided about a problem of an order: the one named, or the oldest. */
export async function settleOrder(
  deps: OrderDeps,
  orderId: string,
  { refund_id: refundId, ...settlement }: Settlement,
): Promise<Order> {
  const at = deps.clock().toISOString();
  const settle = { type: 'SettleOrder' as const, ...settlement, refundId, newRefundId: newId('rfd'), at };
  return toOrder(await change(deps, orderId, settle));
}

/** The order as it is now. Throws DomainError `not_found`. */
export async function getOrder(
  { store }: Pick<OrderDeps, 'store'>,
  db: Executor,
  orderId: string,
): Promise<Order> {
  const { state } = await store.load(db, orderId);
  if (state.status === 'none') throw new DomainError('not-found', 'not_found', { orderId });
  return toOrder(state);
}

/** The same refusal, with the order that it is about: who reads it in a dead letter sees no request beside it. */
function about(orderId: string, { kind, code, data, errors }: DomainError): DomainError {
  return new DomainError(kind, code, { orderId, ...data }, errors);
}

/** Decides, stores what happened, and writes what the world is told and asked of it, all in `tx`. */
export async function handle(
  tx: Transaction,
  { store, outbox, timeouts }: HandlingDeps,
  orderId: string,
  command: OrderCommand,
  o?: { isNew?: boolean },
): Promise<Handled<OrderState, OrderEvent>> {
  const handled = await store.handle(tx, orderId, command, o).catch((err: unknown) => {
    throw err instanceof DomainError ? about(orderId, err) : err;
  });
  const { events, before, state } = handled;
  if (events.length === 0 || state.status === 'none') return handled;
  await Promise.all([
    outbox.publish(tx, ...events.flatMap((event) => factOf(event, state) ?? [])),
    outbox.send(
      tx,
      ...events.flatMap((event) => commandsOf(event, state)),
      ...deadlinesOf(before, state, timeouts),
    ),
  ]);
  return handled;
}

async function change(deps: OrderDeps, orderId: string, command: OrderCommand): Promise<State> {
  const { state } = await deps.database.db.transaction((tx) => handle(tx, deps, orderId, command));
  return existing(state);
}
