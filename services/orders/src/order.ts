import type { ShortLine } from '@sidecart/contracts/common';
import { addMoney, type Money, multiplyMoney, sameMoney } from '@sidecart/contracts/money';
import { DomainError, type FieldError } from '@sidecart/kit/domain-error';

// The rules of an order and nothing else: time, ids and prices come in as arguments, events come out.

/** A line as the customer saw it: `unitPrice` is what the customer agreed to. */
export interface OrderLine {
  sku: string;
  quantity: number;
  unitPrice: Money;
}

/** What products says about one SKU now. A SKU without a quote is unknown. */
export interface Quote {
  sku: string;
  status: 'active' | 'retired';
  unitPrice: Money;
}

export interface PlaceOrder {
  type: 'PlaceOrder';
  orderId: string;
  /** Who placed it. */
  actor: string;
  customerId?: string | undefined;
  lines: readonly OrderLine[];
  quotes: readonly Quote[];
  at: string;
}

/** Inventory has set everything aside. */
export interface ConfirmOrder {
  type: 'ConfirmOrder';
  at: string;
}

/** Inventory could not set everything aside; `short` are the lines at fault. */
export interface RejectOrder {
  type: 'RejectOrder';
  short: readonly ShortLine[];
  at: string;
}

export interface CancelOrder {
  type: 'CancelOrder';
  reason?: string | undefined;
  at: string;
}

/** The time that inventory has for its answer is over. */
export interface CancelOverdueOrder {
  type: 'CancelOverdueOrder';
  at: string;
}

export type OrderCommand = PlaceOrder | ConfirmOrder | RejectOrder | CancelOrder | CancelOverdueOrder;

export interface OrderPlaced {
  type: 'OrderPlaced';
  orderId: string;
  actor: string;
  customerId?: string | undefined;
  lines: readonly OrderLine[];
  total: Money;
  at: string;
}

export interface OrderConfirmed {
  type: 'OrderConfirmed';
  orderId: string;
  customerId?: string | undefined;
  at: string;
}

export interface OrderRejected {
  type: 'OrderRejected';
  orderId: string;
  customerId?: string | undefined;
  short: readonly ShortLine[];
  at: string;
}

export interface OrderCancelled {
  type: 'OrderCancelled';
  orderId: string;
  customerId?: string | undefined;
  reason?: string | undefined;
  at: string;
}

export type OrderEvent = OrderPlaced | OrderConfirmed | OrderRejected | OrderCancelled;

/** Only what decisions and their events need; what an order looks like to a reader is in its tables. */
export type OrderState =
  | { status: 'none' }
  | {
      status: 'placed' | 'confirmed' | 'rejected' | 'cancelled';
      orderId: string;
      customerId?: string | undefined;
    };

type ExistingOrder = Exclude<OrderState, { status: 'none' }>;

export function initialState(): OrderState {
  return { status: 'none' };
}

/**
 * What a command makes happen to an order in this state. No events: the command changes nothing, as when it
 * arrives twice or too late. Throws DomainError when a rule forbids it.
 */
export function decide(command: OrderCommand, state: OrderState): OrderEvent[] {
  switch (command.type) {
    case 'PlaceOrder':
      return placeOrder(command, state);
    case 'ConfirmOrder':
      return confirmOrder(command, existing(state));
    case 'RejectOrder':
      return rejectOrder(command, existing(state));
    case 'CancelOrder':
      return cancelOrder(command, existing(state));
    case 'CancelOverdueOrder':
      return cancelOverdueOrder(command, existing(state));
    default:
      throw new Error(`Not a command of an order: ${JSON.stringify(command satisfies never)}`);
  }
}

/** The state after an event. Never throws: an event has happened, whatever we think of it now. */
export function evolve(state: OrderState, event: OrderEvent): OrderState {
  switch (event.type) {
    case 'OrderPlaced':
      return { status: 'placed', ...subjectOf(event) };
    case 'OrderConfirmed':
      return { status: 'confirmed', ...subjectOf(event) };
    case 'OrderRejected':
      return { status: 'rejected', ...subjectOf(event) };
    case 'OrderCancelled':
      return { status: 'cancelled', ...subjectOf(event) };
    default:
      event satisfies never;
      return state;
  }
}

/** Throws DomainError `duplicate_line`, naming every line whose SKU an earlier line has. */
export function refuseDuplicateLines(lines: readonly { sku: string }[]): void {
  const seen = new Set<string>();
  const errors: FieldError[] = [];
  for (const [index, { sku }] of lines.entries()) {
    if (seen.has(sku))
      errors.push({
        pointer: `/lines/${index}/sku`,
        code: 'duplicate_line',
        detail: `${sku} is on an earlier line; add the quantities up`,
      });
    seen.add(sku);
  }
  if (errors.length > 0) throw new DomainError('invalid', 'duplicate_line', {}, errors);
}

function placeOrder(command: PlaceOrder, state: OrderState): OrderEvent[] {
  if (state.status !== 'none')
    throw new DomainError('conflict', 'order_exists', { orderId: command.orderId });
  refuseDuplicateLines(command.lines);
  refuseStaleLines(command.lines, command.quotes);
  return [
    {
      type: 'OrderPlaced',
      orderId: command.orderId,
      actor: command.actor,
      customerId: command.customerId,
      lines: command.lines,
      total: addMoney(command.lines.map((line) => multiplyMoney(line.unitPrice, line.quantity))),
      at: command.at,
    },
  ];
}

function confirmOrder(command: ConfirmOrder, state: ExistingOrder): OrderEvent[] {
  switch (state.status) {
    case 'placed':
      return [{ type: 'OrderConfirmed', ...subjectOf(state), at: command.at }];
    case 'confirmed':
    case 'cancelled':
      return [];
    case 'rejected':
      throw contradiction(state, command);
  }
}

function rejectOrder(command: RejectOrder, state: ExistingOrder): OrderEvent[] {
  switch (state.status) {
    case 'placed':
      return [{ type: 'OrderRejected', ...subjectOf(state), short: command.short, at: command.at }];
    case 'rejected':
    case 'cancelled':
      return [];
    case 'confirmed':
      throw contradiction(state, command);
  }
}

function cancelOrder(command: CancelOrder, state: ExistingOrder): OrderEvent[] {
  switch (state.status) {
    case 'placed':
    case 'confirmed':
      return [{ type: 'OrderCancelled', ...subjectOf(state), reason: command.reason, at: command.at }];
    case 'cancelled':
      return [];
    case 'rejected':
      throw new DomainError('conflict', 'order_not_cancellable', { status: state.status });
  }
}

/** Only an order that still waits is overdue: what inventory or the customer decided in time stands. */
function cancelOverdueOrder(command: CancelOverdueOrder, state: ExistingOrder): OrderEvent[] {
  if (state.status !== 'placed') return [];
  const reason = 'no stock was set aside in time';
  return [{ type: 'OrderCancelled', ...subjectOf(state), reason, at: command.at }];
}

function subjectOf({ orderId, customerId }: { orderId: string; customerId?: string | undefined }) {
  return { orderId, customerId };
}

function existing(state: OrderState): ExistingOrder {
  if (state.status === 'none') throw new DomainError('not-found', 'not_found', {});
  return state;
}

/** Inventory answers an order once; a second, opposite answer means that the two services no longer agree. */
function contradiction(state: ExistingOrder, command: ConfirmOrder | RejectOrder): DomainError {
  return new DomainError('conflict', 'order_already_decided', {
    status: state.status,
    command: command.type,
  });
}

/** One code for the whole order, the gravest first; the errors name each line with its own. */
const graveness = ['unknown_product', 'product_retired', 'price_changed'] as const;

function refuseStaleLines(lines: readonly OrderLine[], quotes: readonly Quote[]): void {
  const bySku = new Map(quotes.map((quote) => [quote.sku, quote]));
  const errors = lines.flatMap((line, index) => lineFault(line, index, bySku.get(line.sku)) ?? []);
  const code = graveness.find((candidate) => errors.some((error) => error.code === candidate));
  if (code) throw new DomainError(code === 'price_changed' ? 'conflict' : 'refused', code, {}, errors);
}

function lineFault(line: OrderLine, index: number, quote: Quote | undefined): FieldError | undefined {
  if (!quote)
    return {
      pointer: `/lines/${index}/sku`,
      code: 'unknown_product',
      detail: `There is no product ${line.sku}`,
    };
  if (quote.status === 'retired')
    return {
      pointer: `/lines/${index}/sku`,
      code: 'product_retired',
      detail: `${line.sku} is no longer for sale`,
    };
  if (sameMoney(quote.unitPrice, line.unitPrice)) return undefined;
  return {
    pointer: `/lines/${index}/unit_price`,
    code: 'price_changed',
    detail: `The price of ${line.sku} is not what the order says`,
    current: quote.unitPrice,
  };
}
