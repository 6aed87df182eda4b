import type { Decider, Tagged } from './decider.ts';
import { UnknownShapeError } from './errors.ts';

/** The event that takes the place of those that were condensed: the whole state, as of its version. */
export const CONDENSED = '$Condensed';

/** From one version of a stored shape to the next. Pure; what it is given is as it was stored. */
// biome-ignore lint/suspicious/noExplicitAny: old shapes have no type any more; a stored sample of each is tried in the tests
export type Upcaster = (old: any) => unknown;

/** How a stored shape has come to what it is today. */
export interface Shape {
  /** Of today's shape, counted from 1. */
  version: number;
  /** By the version that each starts from: 1 leads to 2. One for every version before today's. */
  upcast?: Readonly<Record<number, Upcaster>>;
}

/** A decider and how its events and its state are stored. */
export interface Aggregate<State, Command, Event extends Tagged> extends Decider<State, Command, Event> {
  /** Of its streams. */
  readonly type: string;
  /**
   * Of its state. A snapshot of another version is not read; a condensed event's state is brought up to date by the upcasters, as
   * there is nothing else left to make it from. Change it whenever `evolve` makes something else of the same events.
   */
  readonly state: Shape;
  /** Every type of event there is or ever was, with its shape. */
  readonly events: { readonly [T in Event['type']]: Shape };
  /** Names of fields, of events and of the state, whose values an operator is not shown: what a customer pays with. */
  readonly secret?: readonly string[];
  /** Whether nothing more will happen: what may be condensed by policy. */
  isClosed?(state: State): boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: an aggregate of any thing
export type AnyAggregate = Aggregate<any, any, any>;

/** An event as a row says it. */
export interface StoredEvent {
  type: string;
  schemaVersion: number;
  data: unknown;
}

/** What is stored of an event: all but its type, which has a column of its own. */
export function toStored(events: Readonly<Record<string, Shape>>, event: Tagged): StoredEvent {
  const shape = Object.hasOwn(events, event.type) ? events[event.type] : undefined;
  if (!shape) throw new TypeError(`${event.type} has no shape: add it to the aggregate's events`);
  const { type, ...data } = event;
  return { type, schemaVersion: shape.version, data };
}

/**
 * The event in today's shape. A type that the code does not know is given as it is: `evolve` leaves the state alone.
 *
 * @throws UnknownShapeError for a version from the future, or one without an upcaster.
 */
export function toEvent<Event extends Tagged>(
  events: Readonly<Record<string, Shape>>,
  { type, schemaVersion, data }: StoredEvent,
): Event {
  const shape = Object.hasOwn(events, type) ? events[type] : undefined;
  const current = shape && shape.version !== schemaVersion ? upcast(type, shape, schemaVersion, data) : data;
  return { type, ...(current as object) } as unknown as Event;
}

/** The state in today's shape, of one that was stored as version `schemaVersion`. */
export function toState<State>(aggregate: AnyAggregate, schemaVersion: number, state: unknown): State {
  return upcast(`The state of ${aggregate.type}`, aggregate.state, schemaVersion, state) as State;
}

/** Refuses an aggregate that could not read what an earlier version of it has stored. For its tests and at its start. */
export function requireUpcasters(aggregate: AnyAggregate): void {
  const shapes: [string, Shape][] = [
    [`The state of ${aggregate.type}`, aggregate.state],
    ...Object.entries(aggregate.events as Record<string, Shape>),
  ];
  for (const [what, shape] of shapes)
    for (let version = 1; version < shape.version; version++)
      if (!shape.upcast?.[version]) throw new UnknownShapeError(what, version, shape.version);
}

function upcast(what: string, shape: Shape, from: number, stored: unknown): unknown {
  if (from > shape.version) throw new UnknownShapeError(what, from, shape.version);
  let current = stored;
  for (let version = from; version < shape.version; version++) {
    const step = shape.upcast?.[version];
    if (!step) throw new UnknownShapeError(what, version, shape.version);
    current = step(current);
  }
  return current;
}
