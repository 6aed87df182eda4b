import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import type { Logger } from '@sidecart/kit/log';
import type { Worker } from '@sidecart/kit/service';
import { type Aggregate, requireUpcasters } from './aggregate.ts';
import { type Append, appendAlone, appendEvents } from './append.ts';
import { fold, type Tagged } from './decider.ts';
import { ConcurrencyError } from './errors.ts';
import { type Loaded, loadStream, lockStream } from './load.ts';
import { currentMeta } from './meta.ts';
import { createSnapshots } from './snapshots.ts';

/** What a command has made of a thing. */
export interface Handled<State, Event> {
  /** None: the command changed nothing. */
  events: Event[];
  /** As the command found it. */
  before: State;
  state: State;
  version: number;
}

export interface EventStore<State, Command extends Tagged, Event extends Tagged> {
  /** The thing as it is now. */
  load(db: Executor, streamId: string): Promise<Loaded<State>>;
  /**
   * Decides on what the stream says now and appends what happened, in `tx`. Of two at once, the second decides anew on what the
   * first has made. What `decide` throws leaves nothing behind.
   *
   * @throws ConcurrencyError when others were faster each time; it passes.
   */
  handle(
    tx: Transaction,
    streamId: string,
    command: Command,
    o?: { isNew?: boolean },
  ): Promise<Handled<State, Event>>;
  /**
   * Appends events that no command has to decide on, in a transaction of their own: see {@link appendAlone} for who may. Returns the
   * stream's new version.
   *
   * @throws ConcurrencyError when the stream is at another version; it is not tried again, as nobody decides anew.
   */
  appendAlone(append: Append<Event>): Promise<number>;
  /** Writes the snapshots. */
  worker: Worker;
}

/**
 * The first one without the lock, as nearly nobody meets another; the second with it. A third is not needed: whoever was refused at the
 * stream's row has waited for the one who changed or made it, so the row is there and is locked.
 */
const ATTEMPTS = 2;
const SNAPSHOT_EVERY = 100;

/**
 * The history of all things of one type, in the service's own database.
 *
 * @example
 * const store = createEventStore({ database, aggregate: order, log, onAppend: projector.appended });
 * await database.db.transaction(async (tx) => {
 *   const { events } = await store.handle(tx, orderId, { type: 'CancelOrder', at });
 *   await publishEvents(tx, outbox, events);
 * });
 */
export function createEventStore<State, Command extends Tagged, Event extends Tagged>(o: {
  database: Database;
  aggregate: Aggregate<State, Command, Event>;
  log: Logger;
  /** Events after the last snapshot at which the next is written; default 100. */
  snapshotEvery?: number;
  /** Told of each append before its commit is told of: its transaction need not have committed yet. */
  onAppend?: () => void;
}): EventStore<State, Command, Event> {
  const { aggregate } = o;
  requireUpcasters(aggregate);
  const every = o.snapshotEvery ?? SNAPSHOT_EVERY;
  const snapshots = createSnapshots({ ...o, every });
  const load = (db: Executor, streamId: string) => loadStream<State>(db, aggregate, streamId);

  async function attempt(
    tx: Transaction,
    streamId: string,
    command: Command,
    before: Loaded<State>,
  ): Promise<Handled<State, Event>> {
    const events = aggregate.decide(command, before.state);
    if (events.length === 0)
      return { events, before: before.state, state: before.state, version: before.version };
    const meta = currentMeta(command.type);
    const expectedVersion = before.version;
    const version = await appendEvents(tx, aggregate, { streamId, expectedVersion, events, meta });
    o.onAppend?.();
    if (version - before.snapshotVersion >= every) snapshots.offer(streamId);
    return { events, before: before.state, state: fold(aggregate, before.state, events), version };
  }

  return {
    load,
    async handle(tx, streamId, command, { isNew = false } = {}) {
      for (let n = 1; ; n++) {
        if (n > 1) await lockStream(tx, streamId);
        const before = isNew && n === 1 ? nothing(aggregate.initialState()) : await load(tx, streamId);
        try {
          return await attempt(tx, streamId, command, before);
        } catch (err) {
          if (!(err instanceof ConcurrencyError) || n === ATTEMPTS) throw err;
        }
      }
    },
    async appendAlone(append) {
      const version = await appendAlone(o, aggregate, append);
      // How far behind the snapshot is nobody has read. Who writes it looks.
      if (Math.floor(version / every) > Math.floor(append.expectedVersion / every))
        snapshots.offer(append.streamId);
      return version;
    },
    worker: snapshots,
  };
}

function nothing<State>(state: State): Loaded<State> {
  return { state, version: 0, snapshotVersion: 0, snapshotDamaged: false };
}
