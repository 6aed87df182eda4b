import { duplicateLines, type ShortLine, type StockLine } from '@sidecart/contracts/common';
import { DomainError, refuse } from '@sidecart/kit/domain-error';

// What is set aside for one order. The messages about an order come from two topics and may overtake each other or come
// twice; whatever their order, the same stock ends up in the same place.

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

/** The order is off: everything goes back, or a part of it only. */
export interface Release {
  type: 'Release';
  orderId: string;
  part?: Part | undefined;
}

/** Some pieces of what an order has; they go back once per id. */
export interface Part {
  id: string;
  lines: readonly StockLine[];
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
  /** The id of the part; without it, all that was left. */
  part?: string | undefined;
}

/** The release of a part has overtaken its ReserveStock. */
export interface PartAwaited {
  type: 'PartAwaited';
  orderId: string;
  part: Part;
}

export type ReservationEvent = StockReserved | StockRejected | StockCommitted | StockReleased | PartAwaited;

/** `parts` have gone back already; of `none`, they will as soon as there is something. */
export type Reservation = { parts: readonly Part[] } & (
  | { status: 'none' | 'rejected' | 'released' }
  /** The lines as they are without the parts. */
  | { status: 'reserved' | 'committed'; lines: readonly StockLine[] }
);

export function initialState(): Reservation {
  return { status: 'none', parts: [] };
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
      return command.part ? releasePart(command.orderId, command.part, state) : release(command, state);
    default:
      throw new Error(`Not a command of a reservation: ${JSON.stringify(command satisfies never)}`);
  }
}

/** The reservation after an event. Never throws. */
export function evolve(state: Reservation, event: ReservationEvent): Reservation {
  const { parts } = state;
  switch (event.type) {
    case 'StockReserved':
      // What was awaited follows, part by part.
      return { status: 'reserved', lines: event.lines, parts: [] };
    case 'StockRejected':
      return { status: 'rejected', parts };
    case 'StockCommitted':
      return { status: 'committed', lines: event.lines, parts };
    case 'StockReleased': {
      if (event.part === undefined) return { status: 'released', parts };
      const part = { id: event.part, lines: event.lines };
      const lines = 'lines' in state ? minus(state.lines, event.lines) : [];
      return { status: event.from, lines, parts: [...parts, part] };
    }
    case 'PartAwaited':
      return { ...state, parts: [...parts, event.part] };
    default:
      event satisfies never;
      return state;
  }
}

/**
 * Answered before, or released ahead of time: an order gets stock set aside at most once. Parts that are to go back at once are
 * asked of stock all the same: whether there is enough must not depend on which message comes first.
 */
function reserve(command: Reserve, state: Reservation, onHand: (sku: string) => number): ReservationEvent[] {
  if (state.status !== 'none') return [];
  const { orderId, lines } = command;
  refuse('invalid', duplicateLines(lines));
  const short = lines
    .map(({ sku, quantity }) => ({ sku, requested: quantity, available: onHand(sku) }))
    .filter(({ requested, available }) => available < requested);
  if (short.length > 0) return [{ type: 'StockRejected', orderId, short }];
  const events: ReservationEvent[] = [{ type: 'StockReserved', orderId, lines }];
  for (const part of state.parts) events.push(...releasePart(orderId, part, events.reduce(evolve, state)));
  return events;
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
      // Orders confirms after StockReserved only, and that was published after the reservation was stored.
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

/** After all has gone back, or where there never was anything, there is nothing of which a part could. */
function releasePart(orderId: string, part: Part, state: Reservation): ReservationEvent[] {
  const known = state.parts.find(({ id }) => id === part.id);
  if (known) return sameAsBefore(known, part);
  refuse('invalid', duplicateLines(part.lines));
  switch (state.status) {
    case 'none':
      return [{ type: 'PartAwaited', orderId, part }];
    case 'reserved':
    case 'committed':
      refuseMoreThanLeft(state.lines, part);
      return [{ type: 'StockReleased', orderId, from: state.status, lines: part.lines, part: part.id }];
    case 'released':
    case 'rejected':
      return [];
  }
}

/** The same id with other pieces is another part: which of the two was meant, nobody knows. */
function sameAsBefore(known: Part, part: Part): ReservationEvent[] {
  const same = minus(known.lines, part.lines).length === 0 && minus(part.lines, known.lines).length === 0;
  if (same) return [];
  throw new DomainError('conflict', 'part_released_differently', { part: part.id });
}

function refuseMoreThanLeft(left: readonly StockLine[], part: Part): void {
  const more = minus(part.lines, left);
  if (more.length > 0)
    throw new DomainError('conflict', 'more_than_left_to_release', { part: part.id, more });
}

/** The lines without these pieces, and without the lines that come to nothing. */
function minus(lines: readonly StockLine[], pieces: readonly StockLine[]): StockLine[] {
  return lines
    .map(({ sku, quantity }) => ({
      sku,
      quantity: quantity - (pieces.find((line) => line.sku === sku)?.quantity ?? 0),
    }))
    .filter(({ quantity }) => quantity > 0);
}
