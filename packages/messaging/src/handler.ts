import type { Transaction } from '@sidecart/kit/db';
import type { z } from 'zod';

/** A message as a handler sees it. */
export interface Message<D> {
  id: string;
  type: string;
  /** What the message is about. */
  key: string;
  /**
   * The sender's number for the key: 1, 2, 3 without gaps. Deliveries may come in another order. Of a message that a service sends to
   * itself for a handler that is not `ordered`, any number that grows.
   */
  sequence: string;
  actor: string;
  customerId?: string;
  correlationId?: string;
  causationId?: string;
  data: D;
}

export interface Handler {
  readonly schema: z.ZodType;
  /** Whether messages of one sender, topic and key have to be handled one after the other, in the order of sending. */
  readonly ordered: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: `on` ties the data's type to the schema
  readonly handle: (tx: Transaction, message: Message<any>) => Promise<void>;
}

/**
 * A handler for one type of message. Everything it does to the database goes through `tx`, and it calls nobody else:
 * its effect and the note that the message was handled commit together or not at all. What it throws decides what
 * becomes of the message: a DomainError, a {@link PermanentError} and a broken integrity constraint make a dead letter,
 * everything else is tried again.
 *
 * It has 2.5 s for a delivery, 10 s for a message to oneself and 30 s for one that was set aside, and a statement 3 s. A delivery is answered with "again" then and the handler
 * left to finish; the others are undone and tried again.
 *
 * Deliveries come in any order. With `ordered` a message waits in `inbox_parked` until all before it of its sender, topic and
 * key have been dealt with, also across replicas; a dead letter holds its key until somebody decides.
 *
 * @example
 * on(StockReserved, async (tx, { data }) => { await confirmOrder(tx, data.order_id); })
 */
export function on<S extends z.ZodType>(
  schema: S,
  handle: (tx: Transaction, message: Message<z.output<S>>) => Promise<void>,
  { ordered = false }: { ordered?: boolean } = {},
): Handler {
  return { schema, ordered, handle };
}
