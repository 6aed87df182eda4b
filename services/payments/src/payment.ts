import { DomainError } from '@sidecart/kit/domain-error';

// The money of one order. Its commands come from orders and may overtake each other or come twice; what the provider says comes as the
// answer to a request or as a webhook, late, twice, or never. Whatever their order, money is held, taken and given back once.
// Amounts are minor units of the shop's one currency.

export type Kind = 'authorise' | 'capture' | 'void' | 'refund';

/** Hold the money. */
export interface Authorise {
  type: 'Authorise';
  amount: number;
  token: string;
}

/** Take the money that is held, or less of it. */
export interface Capture {
  type: 'Capture';
  amount: number;
}

/** Let go of the money that is held, or will be. */
export interface Void {
  type: 'Void';
}

/** Give back what was taken, or a part of it. */
export interface Refund {
  type: 'Refund';
  refundId: string;
  amount: number;
}

/** What the provider says of one operation. */
export interface Settle {
  type: 'Settle';
  operation: OperationId;
  outcome: Outcome;
}

export type PaymentCommand = Authorise | Capture | Void | Refund | Settle;

export type Outcome =
  | { state: 'succeeded' /** The provider's name for the money that it holds. */; authorisationId: string }
  | { state: 'refused'; reason: string };

/** One thing that is asked of the provider: `ask` 1, or more when it said no and was asked again. */
export interface OperationId {
  kind: Kind;
  refundId?: string;
  ask: number;
}

export interface Operation extends OperationId {
  amount: number;
  state: 'pending' | 'succeeded' | 'refused';
}

/** The provider is to be asked. */
export interface OperationAsked {
  type: 'OperationAsked';
  operation: OperationId;
  amount: number;
  token?: string;
}

/** A void that has to wait for what is under way. */
export interface VoidPostponed {
  type: 'VoidPostponed';
}

interface Settled {
  /** Absent where the provider had nothing to do with it. */
  operation?: OperationId;
}

export interface PaymentAuthorised extends Settled {
  type: 'PaymentAuthorised';
  amount: number;
  authorisationId: string;
}

export interface PaymentDeclined extends Settled {
  type: 'PaymentDeclined';
  reason: string;
}

export interface PaymentCaptured extends Settled {
  type: 'PaymentCaptured';
  amount: number;
}

export interface PaymentVoided extends Settled {
  type: 'PaymentVoided';
}

export interface PaymentRefunded extends Settled {
  type: 'PaymentRefunded';
  refundId: string;
  amount: number;
}

/** The answer to a capture, void or refund that is not done, by the provider or by these rules. */
export interface OperationRefused {
  type: 'CaptureRefused' | 'VoidRefused' | 'RefundRefused';
  operation: OperationId;
  amount: number;
  reason: string;
}

export type PaymentEvent =
  | OperationAsked
  | VoidPostponed
  | PaymentAuthorised
  | PaymentDeclined
  | PaymentCaptured
  | PaymentVoided
  | PaymentRefunded
  | OperationRefused;

export type Status =
  | 'none'
  | 'authorising'
  | 'authorised'
  | 'declined'
  | 'capturing'
  | 'captured'
  | 'voiding'
  | 'voided';

export interface Payment {
  status: Status;
  /** Always: refunded <= captured <= authorised. */
  authorised: number;
  captured: number;
  refunded: number;
  /** A void waits for what is under way. */
  voidPostponed: boolean;
  operations: readonly Operation[];
}

export function initialState(): Payment {
  return {
    status: 'none',
    authorised: 0,
    captured: 0,
    refunded: 0,
    voidPostponed: false,
    operations: [],
  };
}

/**
 * What a command makes happen; nothing where it was done before. Throws DomainError for what cannot have come about: another amount
 * than before, or a command that only an answer of this service can have led to, which it never gave.
 */
export function decide(command: PaymentCommand, state: Payment): PaymentEvent[] {
  switch (command.type) {
    case 'Authorise':
      return authorise(command, state);
    case 'Capture':
      return capture(command, state);
    case 'Void':
      return voidPayment(state);
    case 'Refund':
      return refund(command, state);
    case 'Settle':
      return settle(command, state);
    default:
      throw new Error(`Not a command of a payment: ${JSON.stringify(command satisfies never)}`);
  }
}

/** The payment after an event. Never throws. */
export function evolve(state: Payment, event: PaymentEvent): Payment {
  const settled = (change: Partial<Payment>, outcome: 'succeeded' | 'refused' = 'succeeded'): Payment => ({
    ...state,
    ...change,
    ...('operation' in event &&
      event.operation && {
        operations: put(state.operations, {
          ...event.operation,
          amount: 'amount' in event ? event.amount : amountOf(state, event.operation),
          state: outcome,
        }),
      }),
  });
  switch (event.type) {
    case 'OperationAsked': {
      const { operation, amount } = event;
      return {
        ...state,
        status: UNDER_WAY[operation.kind] ?? state.status,
        voidPostponed: operation.kind === 'void' ? false : state.voidPostponed,
        operations: put(state.operations, { ...operation, amount, state: 'pending' }),
      };
    }
    case 'VoidPostponed':
      return { ...state, voidPostponed: true };
    case 'PaymentAuthorised':
      return settled({ status: 'authorised', authorised: event.amount });
    case 'PaymentDeclined':
      return settled({ status: 'declined' }, 'refused');
    case 'PaymentCaptured':
      return settled({ status: 'captured', captured: event.amount });
    case 'PaymentVoided':
      return settled({ status: 'voided', voidPostponed: false });
    case 'PaymentRefunded':
      return settled({ refunded: state.refunded + event.amount });
    case 'CaptureRefused':
      return settled({ status: state.status === 'capturing' ? 'authorised' : state.status }, 'refused');
    case 'VoidRefused':
      return settled(
        { status: state.status === 'voiding' ? 'authorised' : state.status, voidPostponed: false },
        'refused',
      );
    case 'RefundRefused':
      return settled({}, 'refused');
    default:
      event satisfies never;
      return state;
  }
}

/** The key under which the provider is asked. It never changes for an operation, so that it is done once however often it is asked for. */
export function idempotencyKey(orderId: string, { kind, refundId, ask }: OperationId): string {
  return [orderId, kind, ...(refundId === undefined ? [] : [refundId]), ...(ask === 1 ? [] : [ask])].join(
    '.',
  );
}

/** Once per order and amount. A void may have overtaken it: then nothing is to be held. */
function authorise({ amount, token }: Authorise, state: Payment): PaymentEvent[] {
  requireAmount(amount);
  const earlier = state.operations.find(({ kind }) => kind === 'authorise');
  if (earlier) {
    requireSame(earlier, amount);
    return [];
  }
  if (state.status !== 'none') return [];
  return [{ type: 'OperationAsked', operation: { kind: 'authorise', ask: 1 }, amount, token }];
}

function capture({ amount }: Capture, state: Payment): PaymentEvent[] {
  requireAmount(amount);
  const earlier = last(state, 'capture');
  const operation: OperationId = { kind: 'capture', ask: (earlier?.ask ?? 0) + 1 };
  const refused = (reason: string): PaymentEvent[] => [{ type: 'CaptureRefused', operation, amount, reason }];
  switch (state.status) {
    case 'none':
    case 'authorising':
      // Orders captures on PaymentAuthorised only, and that was published after it was stored.
      throw new DomainError('conflict', 'payment_not_authorised', { status: state.status });
    case 'capturing':
    case 'captured':
      if (earlier) requireSame(earlier, amount);
      return [];
    case 'declined':
    case 'voiding':
    case 'voided':
      return refused(state.status);
    case 'authorised':
      if (amount > state.authorised) return refused('exceeds_authorised');
      return [{ type: 'OperationAsked', operation, amount }];
  }
}

function voidPayment(state: Payment): PaymentEvent[] {
  switch (state.status) {
    case 'none':
      // It overtook its AuthorisePayment. Remembered as voided, so that the late one holds nothing.
      return [{ type: 'PaymentVoided' }];
    case 'declined':
      return [{ type: 'PaymentVoided' }];
    case 'authorising':
    case 'capturing':
      return state.voidPostponed ? [] : [{ type: 'VoidPostponed' }];
    case 'authorised':
      return [askVoid(state)];
    case 'captured':
      return [refuseVoid(state)];
    case 'voiding':
    case 'voided':
      return [];
  }
}

function refund({ refundId, amount }: Refund, state: Payment): PaymentEvent[] {
  requireAmount(amount);
  if (state.status === 'none') throw new DomainError('conflict', 'payment_not_captured', { refundId });
  const earlier = last(state, 'refund', refundId);
  if (earlier) {
    // Refused, too: whoever wants to try again gives it another id, for a person may have paid it back by now.
    requireSame(earlier, amount);
    return [];
  }
  const operation: OperationId = { kind: 'refund', refundId, ask: 1 };
  const underWay = state.operations
    .filter(({ kind, state }) => kind === 'refund' && state === 'pending')
    .reduce((sum, pending) => sum + pending.amount, 0);
  if (amount > state.captured - state.refunded - underWay)
    return [{ type: 'RefundRefused', operation, amount, reason: 'exceeds_captured' }];
  return [{ type: 'OperationAsked', operation, amount }];
}

/** Answer and webhook may both tell of an operation, each more than once: the first one counts. */
function settle({ operation: id, outcome }: Settle, state: Payment): PaymentEvent[] {
  const operation = state.operations.find((one) => isSame(one, id));
  if (operation?.state !== 'pending') return [];
  const { amount } = operation;
  const done = outcome.state === 'succeeded';
  switch (id.kind) {
    case 'authorise':
      if (!done) {
        const declined: PaymentEvent = { type: 'PaymentDeclined', operation: id, reason: outcome.reason };
        return state.voidPostponed ? [declined, { type: 'PaymentVoided' }] : [declined];
      }
      return [
        { type: 'PaymentAuthorised', operation: id, amount, authorisationId: outcome.authorisationId },
        ...(state.voidPostponed ? [askVoid(state)] : []),
      ];
    case 'capture':
      if (!done)
        return [
          { type: 'CaptureRefused', operation: id, amount, reason: outcome.reason },
          ...(state.voidPostponed ? [askVoid(state)] : []),
        ];
      return [
        { type: 'PaymentCaptured', operation: id, amount },
        ...(state.voidPostponed ? [refuseVoid(state)] : []),
      ];
    case 'void':
      return [
        done
          ? { type: 'PaymentVoided', operation: id }
          : { type: 'VoidRefused', operation: id, amount, reason: outcome.reason },
      ];
    case 'refund': {
      const { refundId = '' } = id;
      return [
        done
          ? { type: 'PaymentRefunded', operation: id, refundId, amount }
          : { type: 'RefundRefused', operation: id, amount, reason: outcome.reason },
      ];
    }
  }
}

const UNDER_WAY: Partial<Record<Kind, Status>> = {
  authorise: 'authorising',
  capture: 'capturing',
  void: 'voiding',
};

function askVoid(state: Payment): OperationAsked {
  const operation: OperationId = { kind: 'void', ask: (last(state, 'void')?.ask ?? 0) + 1 };
  return { type: 'OperationAsked', operation, amount: amountHeld(state) };
}

function refuseVoid(state: Payment): OperationRefused {
  const operation: OperationId = { kind: 'void', ask: (last(state, 'void')?.ask ?? 0) + 1 };
  return { type: 'VoidRefused', operation, amount: amountHeld(state), reason: 'captured' };
}

/** Or asked for: a void may be decided together with the authorisation that it undoes. */
function amountHeld({ operations }: Payment): number {
  return operations.find(({ kind }) => kind === 'authorise')?.amount ?? 0;
}

function last({ operations }: Payment, kind: Kind, refundId?: string): Operation | undefined {
  return operations.findLast((one) => one.kind === kind && one.refundId === refundId);
}

function amountOf({ operations }: Payment, id: OperationId): number {
  return operations.find((one) => isSame(one, id))?.amount ?? 0;
}

function put(operations: readonly Operation[], operation: Operation): readonly Operation[] {
  const known = operations.some((one) => isSame(one, operation));
  return known
    ? operations.map((one) => (isSame(one, operation) ? operation : one))
    : [...operations, operation];
}

function isSame(a: OperationId, b: OperationId): boolean {
  return a.kind === b.kind && a.refundId === b.refundId && a.ask === b.ask;
}

function requireAmount(amount: number): void {
  if (amount <= 0) throw new DomainError('invalid', 'payment_amount_zero', { amount });
}

function requireSame(earlier: Operation, amount: number): void {
  if (earlier.amount !== amount)
    throw new DomainError('conflict', 'payment_amount_changed', {
      kind: earlier.kind,
      before: earlier.amount,
      now: amount,
    });
}
