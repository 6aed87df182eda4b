import { duplicateLines, type StockLine } from '@sidecart/contracts/common';
import { DomainError, type FieldError, refuse } from '@sidecart/kit/domain-error';

// What leaves for one order. What orders asks for may come twice, late or in another order, while the warehouse packs and hands
// over by HTTP: whatever meets whatever, an order has one shipment, and either it has left or it has not.

/** Pack what an order wants. */
export interface Create {
  type: 'Create';
  orderId: string;
  /** The id that the shipment gets if there is none yet. */
  shipmentId: string;
  lines: readonly StockLine[];
  at: string;
}

/** Pack these lines in place of the earlier ones. */
export interface Amend {
  type: 'Amend';
  orderId: string;
  amendmentId: string;
  lines: readonly StockLine[];
  at: string;
}

/** Pack nothing for this order. */
export interface Cancel {
  type: 'Cancel';
  orderId: string;
  at: string;
}

/** Put pieces into a new package; without lines, all that is in none yet. */
export interface Pack {
  type: 'Pack';
  packageId: string;
  weightGrams?: number | undefined;
  lines?: readonly StockLine[] | undefined;
  at: string;
}

/** Give all packages to a carrier. */
export interface HandOver {
  type: 'HandOver';
  carrier: string;
  tracking?: string | undefined;
  at: string;
}

export interface Deliver {
  type: 'Deliver';
  at: string;
}

export interface Lose {
  type: 'Lose';
  reason: string;
  at: string;
}

/** What orders asks for; there may be no shipment yet. */
export type OrdersCommand = Create | Amend | Cancel;
/** What the warehouse does with a shipment that it has found. */
export type WarehouseCommand = Pack | HandOver | Deliver | Lose;
export type ShipmentCommand = OrdersCommand | WarehouseCommand;

export interface Package {
  id: string;
  weightGrams?: number | undefined;
  lines: readonly StockLine[];
}

export interface ShipmentCreated {
  type: 'ShipmentCreated';
  orderId: string;
  shipmentId: string;
  lines: readonly StockLine[];
  at: string;
}

export interface ShipmentAmended {
  type: 'ShipmentAmended';
  orderId: string;
  amendmentId: string;
  lines: readonly StockLine[];
  /** The packages that stay as they are; the others are taken apart. */
  packages: readonly Package[];
  at: string;
}

export interface ShipmentCancelled {
  type: 'ShipmentCancelled';
  orderId: string;
  at: string;
}

export interface PackagePacked {
  type: 'PackagePacked';
  orderId: string;
  package: Package;
  at: string;
}

export interface ShipmentHandedOver {
  type: 'ShipmentHandedOver';
  orderId: string;
  shipmentId: string;
  lines: readonly StockLine[];
  carrier: string;
  tracking?: string | undefined;
  at: string;
}

export interface ShipmentDelivered {
  type: 'ShipmentDelivered';
  orderId: string;
  shipmentId: string;
  at: string;
}

export interface ShipmentLost {
  type: 'ShipmentLost';
  orderId: string;
  shipmentId: string;
  reason: string;
  at: string;
}

export type ShipmentEvent =
  | ShipmentCreated
  | ShipmentAmended
  | ShipmentCancelled
  | PackagePacked
  | ShipmentHandedOver
  | ShipmentDelivered
  | ShipmentLost;

interface Contents {
  /** Before there is a shipment: those of an amendment that overtook it, or none. */
  lines: readonly StockLine[];
  packages: readonly Package[];
  /** The ids of the amendments that were made, so that one that comes again does not undo a later one. */
  amendments: readonly string[];
}

interface Subject {
  orderId: string;
  shipmentId: string;
}

export type ShipmentState = Contents &
  (
    | { status: 'none' }
    /** Perhaps before there was a shipment: remembered, so that none is made. */
    | ({ status: 'cancelled' } & Partial<Subject>)
    | ({ status: 'preparing' } & Subject)
    | ({
        status: 'handed_over' | 'delivered' | 'lost';
        carrier: string;
        tracking?: string | undefined;
      } & Subject)
  );

type Status = ShipmentState['status'];
type InStatus<S extends Status> = Extract<ShipmentState, { status: S }>;

/** So that a whole shipment fits into one answer. */
export const MOST_PACKAGES = 100;

export function initialState(): ShipmentState {
  return { status: 'none', lines: [], packages: [], amendments: [] };
}

/**
 * What a command makes happen to a shipment in this state. No events: the command changes nothing, as when it comes twice or too
 * late. Throws DomainError when a rule forbids it.
 */
export function decide(command: ShipmentCommand, state: ShipmentState): ShipmentEvent[] {
  switch (command.type) {
    case 'Create':
      return create(command, state);
    case 'Amend':
      return amend(command, state);
    case 'Cancel':
      return cancel(command, state);
    case 'Pack':
      return pack(command, state);
    case 'HandOver':
      return handOver(command, state);
    case 'Deliver':
      return arrive(state, (subject) => ({ type: 'ShipmentDelivered', ...subject, at: command.at }));
    case 'Lose':
      return arrive(state, (subject) => ({
        type: 'ShipmentLost',
        ...subject,
        reason: command.reason,
        at: command.at,
      }));
    default:
      throw new Error(`Not a command of a shipment: ${JSON.stringify(command satisfies never)}`);
  }
}

/** The state after an event. Never throws: an event has happened, whatever we think of it now. */
export function evolve(state: ShipmentState, event: ShipmentEvent): ShipmentState {
  switch (event.type) {
    case 'ShipmentCreated':
      return { ...contentsOf(state), ...subjectOf(event), status: 'preparing', lines: event.lines };
    case 'ShipmentAmended':
      return {
        ...state,
        lines: event.lines,
        packages: event.packages,
        amendments: [...state.amendments, event.amendmentId],
      };
    case 'ShipmentCancelled':
      return { ...contentsOf(state), ...('shipmentId' in state && subjectOf(state)), status: 'cancelled' };
    case 'PackagePacked':
      return { ...state, packages: [...state.packages, event.package] };
    case 'ShipmentHandedOver': {
      const { carrier, tracking } = event;
      return { ...contentsOf(state), ...subjectOf(event), status: 'handed_over', carrier, tracking };
    }
    case 'ShipmentDelivered':
      return ended(state, 'delivered');
    case 'ShipmentLost':
      return ended(state, 'lost');
    default:
      event satisfies never;
      return state;
  }
}

/** The pieces of these lines that are in none of the packages. */
export function leftToPack(lines: readonly StockLine[], packages: readonly Package[]): StockLine[] {
  const packed = countBySku(packages.flatMap((each) => each.lines));
  return lines
    .map(({ sku, quantity }) => ({ sku, quantity: quantity - (packed.get(sku) ?? 0) }))
    .filter(({ quantity }) => quantity > 0);
}

/** Of an order that was amended before, the amended lines are the later ones. */
function create(command: Create, state: ShipmentState): ShipmentEvent[] {
  if (state.status !== 'none') return [];
  const { orderId, shipmentId, at } = command;
  refuse('invalid', duplicateLines(command.lines));
  const lines = state.amendments.length > 0 ? state.lines : command.lines;
  return [{ type: 'ShipmentCreated', orderId, shipmentId, lines, at }];
}

/** Ahead of its shipment it is answered at once: these lines will leave, whatever CreateShipment says when it comes. */
function amend(command: Amend, state: ShipmentState): ShipmentEvent[] {
  switch (state.status) {
    case 'none':
    case 'preparing': {
      const { orderId, amendmentId, lines, at } = command;
      if (state.amendments.includes(amendmentId)) return [];
      refuse('invalid', duplicateLines(lines));
      const packages = packagesThatFit(state.packages, lines);
      return [{ type: 'ShipmentAmended', orderId, amendmentId, lines, packages, at }];
    }
    case 'cancelled':
    case 'handed_over':
    case 'delivered':
    case 'lost':
      return [];
  }
}

function cancel({ orderId, at }: Cancel, state: ShipmentState): ShipmentEvent[] {
  switch (state.status) {
    case 'none':
    case 'preparing':
      return [{ type: 'ShipmentCancelled', orderId, at }];
    case 'cancelled':
    case 'handed_over':
    case 'delivered':
    case 'lost':
      return [];
  }
}

function pack(command: Pack, state: ShipmentState): ShipmentEvent[] {
  const { lines: ordered, packages, orderId } = preparing(state);
  const left = leftToPack(ordered, packages);
  const lines = command.lines ?? left;
  refuse('invalid', duplicateLines(lines));
  refuseMoreThan(left, lines);
  if (lines.length === 0) throw new DomainError('conflict', 'nothing_left_to_pack', {});
  if (packages.length + 1 >= MOST_PACKAGES && countPieces(lines) < countPieces(left))
    throw new DomainError('conflict', 'too_many_packages', { packages: packages.length });
  const { packageId: id, weightGrams, at } = command;
  return [{ type: 'PackagePacked', orderId, package: { id, weightGrams, lines }, at }];
}

/** Again, also to somebody else, it changes nothing: the packages are gone. */
function handOver({ carrier, tracking, at }: HandOver, state: ShipmentState): ShipmentEvent[] {
  const shipment = existing(state);
  if (shipment.status !== 'preparing') return [];
  const missing = leftToPack(shipment.lines, shipment.packages);
  if (missing.length > 0) throw notAllPacked(missing);
  const { lines } = shipment;
  return [{ type: 'ShipmentHandedOver', ...subjectOf(shipment), lines, carrier, tracking, at }];
}

/** Delivered or lost, the first one counts. */
function arrive(state: ShipmentState, event: (subject: Subject) => ShipmentEvent): ShipmentEvent[] {
  const shipment = existing(state);
  switch (shipment.status) {
    case 'handed_over':
      return [event(subjectOf(shipment))];
    case 'delivered':
    case 'lost':
      return [];
    case 'preparing':
      throw new DomainError('conflict', 'shipment_not_handed_over', {});
  }
}

function preparing(state: ShipmentState): InStatus<'preparing'> {
  const shipment = existing(state);
  if (shipment.status === 'preparing') return shipment;
  throw new DomainError('conflict', 'shipment_has_left', { status: shipment.status });
}

function existing(state: ShipmentState): Exclude<ShipmentState, { status: 'none' | 'cancelled' }> {
  if (state.status === 'none') throw new DomainError('not-found', 'not_found', {});
  if (state.status === 'cancelled') throw new DomainError('conflict', 'shipment_cancelled', {});
  return state;
}

/** In the order in which they were packed, each that holds no more than is wanted beside those before it. */
function packagesThatFit(packages: readonly Package[], lines: readonly StockLine[]): Package[] {
  const kept: Package[] = [];
  for (const each of packages) {
    const left = countBySku(leftToPack(lines, kept));
    if (each.lines.every(({ sku, quantity }) => quantity <= (left.get(sku) ?? 0))) kept.push(each);
  }
  return kept;
}

function refuseMoreThan(left: readonly StockLine[], lines: readonly StockLine[]): void {
  const leftBySku = countBySku(left);
  const errors = lines.flatMap(({ sku, quantity }, index): FieldError[] => {
    const most = leftBySku.get(sku) ?? 0;
    if (quantity <= most) return [];
    const detail = `${most} of ${sku} are left to pack`;
    return [{ pointer: `/lines/${index}/quantity`, code: 'more_than_left_to_pack', detail, left: most }];
  });
  refuse('conflict', errors);
}

function notAllPacked(missing: readonly StockLine[]): DomainError {
  const errors = missing.map(({ sku, quantity }) => ({
    pointer: 'path:id',
    code: 'not_packed',
    detail: `${quantity} of ${sku} are in no package`,
    sku,
    quantity,
  }));
  return new DomainError('conflict', 'not_all_packed', {}, errors);
}

function ended(state: ShipmentState, status: 'delivered' | 'lost'): ShipmentState {
  return 'carrier' in state ? { ...state, status } : state;
}

function contentsOf({ lines, packages, amendments }: Contents): Contents {
  return { lines, packages, amendments };
}

function subjectOf<S extends Partial<Subject>>({ orderId, shipmentId }: S): Pick<S, keyof Subject> {
  return { orderId, shipmentId } as Pick<S, keyof Subject>;
}

function countBySku(lines: readonly StockLine[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { sku, quantity } of lines) counts.set(sku, (counts.get(sku) ?? 0) + quantity);
  return counts;
}

function countPieces(lines: readonly StockLine[]): number {
  return lines.reduce((sum, { quantity }) => sum + quantity, 0);
}
