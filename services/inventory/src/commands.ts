import type { Catalog } from '@sidecart/contracts/catalog';
import { duplicateLines } from '@sidecart/contracts/common';
import type { NewReceipt, Receipt } from '@sidecart/contracts/inventory';
import { currentContext } from '@sidecart/kit/context';
import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { refuse } from '@sidecart/kit/domain-error';
import { claimIdempotent, fingerprint } from '@sidecart/kit/idempotency';
import { newId } from '@sidecart/kit/ids';
import { ProblemError } from '@sidecart/kit/problem';
import type { Outbox } from '@sidecart/messaging/outbox';
import { publishEvents } from './publish.ts';
import type { ReservationCommand, ReservationEvent } from './reservation.ts';
import { findReceipt, receiveStock, updateReservation } from './store.ts';
import { toReceipt } from './view.ts';

export interface InventoryDeps {
  database: Database;
  outbox: Outbox<Catalog>;
}

/** Takes goods in, once per (actor, key): of lines with an unknown product none. */
export function receive(
  { database: { db }, outbox }: InventoryDeps,
  request: { key: string; body: NewReceipt },
): Promise<{ receipt: Receipt; replayed: boolean }> {
  const { key, body } = request;
  refuse('invalid', duplicateLines(body.lines));
  const actor = currentContext()?.actor ?? 'anonymous';
  const id = newId('rcp');
  return db.transaction(async (tx) => {
    const claim = await claimIdempotent(tx, { actor, key, fingerprint: fingerprint(body), resource: id });
    if (!claim.claimed) return { receipt: await requireReceipt(tx, claim.resource), replayed: true };
    const { unknown } = await receiveStock(tx, { id, actor, ...body });
    if (unknown.length > 0) throw unknownProducts(body, unknown);
    await outbox.publish(tx, { type: 'StockReceived', data: { receipt_id: id, lines: body.lines } });
    return {
      receipt: toReceipt({ id, reference: body.reference ?? null, lines: body.lines }),
      replayed: false,
    };
  });
}

/** Decides about an order's stock, stores and publishes, all in `tx`. */
export function handle(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  command: ReservationCommand,
): Promise<ReservationEvent[]> {
  return updateReservation(tx, command, (events) => publishEvents(tx, outbox, events));
}

async function requireReceipt(db: Executor, id: string): Promise<Receipt> {
  const row = await findReceipt(db, id);
  if (!row) throw new Error(`Receipt ${id} has a key but no row`);
  return toReceipt(row);
}

/** Retry-After, because products may have told of a new product a moment ago. */
function unknownProducts(body: NewReceipt, unknown: readonly string[]): ProblemError {
  const errors = body.lines.flatMap(({ sku }, index) =>
    unknown.includes(sku)
      ? [{ pointer: `/lines/${index}/sku`, code: 'unknown_product', detail: `There is no product ${sku}` }]
      : [],
  );
  return new ProblemError('unknown_product', { errors, retryAfterSeconds: 1 });
}
