import type { ShortLine, StockLine } from '@sidecart/contracts/common';
import { DomainError, type FieldError } from '@sidecart/kit/domain-error';

// What is set aside for one order. The three messages about an order come from two topics and may overtake each
// other or come twice; whatever their order, the same stock ends up in the same place.

/** Set stock aside: every line or none. */
export interface Reserve {
  type: 'Reserve';
  orderId: string;
  lines: readonly StockLine[];
}

/** The order is confirmed: what is set aside belongs to it. */
export interface Commit {
  type: 'Commit';
  orderId: string;
}

/** The order is off: everything goes back. */
export interface Release {
  type: 'Release';
  orderId: string;
}

export type ReservationCommand = Reserve | Commit | Release;

export interface StockReserved {
  type: 'StockReserved';
  orderId: string;
  lines: readonly StockLine[];
}

export interface StockRejected {
  type: 'StockRejected';
  orderId: string;
  short: readonly ShortLine[];
}

export interface StockCommitted {
  type: 'StockCommitted';
  orderId: string;
  lines: readonly StockLine[];
}

export interface StockReleased {
  type: 'StockReleased';
  orderId: string;
  /** Where the pieces were; without lines, nowhere. */
  from: 'reserved' | 'committed';
  lines: readonly StockLine[];
}

export type ReservationEvent = StockReserved | StockRejected | StockCommitted | StockReleased;

export type Reservation =
  | { status: 'none' | 'rejected' | 'released' }
  | { status: 'reserved' | 'committed'; lines: readonly StockLine[] };

export function initialState(): Reservation {
  return { status: 'none' };
}

/**
 * What a command makes happen. `onHand` gives the free pieces of a SKU; only Reserve asks for it, so the
 * caller must hold the locks on those rows by then. Throws DomainError for what cannot have come about.
 */
export function decide(
  command: ReservationCommand,
  state: Reservation,
  onHand: (sku: string) => number,
): ReservationEvent[] {
  switch (command.type) {
    case 'Reserve':
      return reserve(command, state, onHand);
    case 'Commit':
      return commit(command, state);
    case 'Release':
      return release(command, state);
    default:
      throw new Error(`Not a command of a reservation: ${JSON.stringify(command satisfies never)}`);
  }
}

/** The reservation after an event. Never throws. */
export function evolve(state: Reservation, event: ReservationEvent): Reservation {
  switch (event.type) {
    case 'StockReserved':
      return { status: 'reserved', lines: event.lines };
    case 'StockRejected':
      return { status: 'rejected' };
    case 'StockCommitted':
      return { status: 'committed', lines: event.lines };
    case 'StockReleased':
      return { status: 'released' };
    default:
      event satisfies never;
      return state;
  }
}

/** Throws DomainError `duplicate_line`, naming every line whose SKU an earlier line has. */
export function refuseDuplicateLines(lines: readonly StockLine[]): void {
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

/** Answered before, or released ahead of time: an order gets stock set aside at most once. */
function reserve(command: Reserve, state: Reservation, onHand: (sku: string) => number): ReservationEvent[] {
  if (state.status !== 'none') return [];
  const { orderId, lines } = command;
  refuseDuplicateLines(lines);
  const short = lines
    .map(({ sku, quantity }) => ({ sku, requested: quantity, available: onHand(sku) }))
    .filter(({ requested, available }) => available < requested);
  return short.length > 0
    ? [{ type: 'StockRejected', orderId, short }]
    : [{ type: 'StockReserved', orderId, lines }];
}

function commit(command: Commit, state: Reservation): ReservationEvent[] {
  switch (state.status) {
    case 'reserved':
      return [{ type: 'StockCommitted', orderId: command.orderId, lines: state.lines }];
    case 'committed':
    case 'released':
      return [];
    case 'none':
    case 'rejected':
      // Orders confirms on StockReserved only, and that was published after the reservation was stored.
      throw new DomainError('conflict', 'confirmed_without_reservation', { status: state.status });
  }
}

function release(command: Release, state: Reservation): ReservationEvent[] {
  const { orderId } = command;
  switch (state.status) {
    case 'reserved':
    case 'committed':
      return [{ type: 'StockReleased', orderId, from: state.status, lines: state.lines }];
    case 'none':
      // It overtook its ReserveStock. Remembered as released, so that the late one sets nothing aside.
      return [{ type: 'StockReleased', orderId, from: 'reserved', lines: [] }];
    case 'released':
    case 'rejected':
      return [];
  }
}
