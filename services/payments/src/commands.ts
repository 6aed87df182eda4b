import type { Catalog } from '@sidecart/contracts/catalog';
import { newTraceparent, runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import type { Outbox } from '@sidecart/messaging/outbox';
import { decide, type Outcome, type PaymentCommand, type PaymentEvent } from './payment.ts';
import { publishEvents } from './publish.ts';
import { type OperationRow, operationId, updatePayment } from './store.ts';

export interface PaymentDeps {
  database: Database;
  outbox: Outbox<Catalog>;
  clock: () => Date;
}

/** Decides about an order's money, stores and publishes, all in `tx`. Asks nobody: the worker does, after the commit. */
export function handle(
  tx: Transaction,
  { outbox, clock }: Pick<PaymentDeps, 'outbox' | 'clock'>,
  orderId: string,
  command: PaymentCommand,
): Promise<PaymentEvent[]> {
  return updatePayment(
    tx,
    orderId,
    (state) => decide(command, state),
    (payment, events) => publishEvents(tx, outbox, payment, events, clock().toISOString()),
  );
}

/**
 * Stores what the provider said of an operation together with the fact about it, as part of the conversation that asked for it. False
 * when it was settled before: of an answer and a webhook, however they come, one counts.
 */
export function settleOperation(
  deps: PaymentDeps,
  operation: OperationRow,
  outcome: Outcome,
): Promise<boolean> {
  const context = operation.context ?? {
    traceparent: newTraceparent(),
    requestId: uuidv7(),
    actor: 'payments',
  };
  return runInContext(context, async () => {
    const events = await deps.database.db.transaction((tx) =>
      handle(tx, deps, operation.orderId, { type: 'Settle', operation: operationId(operation), outcome }),
    );
    return events.length > 0;
  });
}
