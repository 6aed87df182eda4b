import { asJson, askOfSlots, isCanceled, type Run } from './slot-session.ts';

/**
 * Up to which id a queue is empty for good, slot by slot. What was deleted stays in the index until no transaction of the server could
 * see it any more, one in another database included, and a reader from the start passes it all: behind a transaction that is open for
 * minutes that is a million rows, and seconds.
 */
export interface Floors {
  /** The slot has no row with this id or a lower one, and never will. 0 until it was looked at. */
  of(slot: number): bigint;
  /** Looks how far the floors of these slots can be raised: once a second, and when one of them is new. */
  raise(slots: readonly number[]): Promise<void>;
  /** The slot is given up. */
  drop(slot: number): void;
}

export type Queue = 'outbox' | 'outbox_local';

const RAISE_MS = 1000;
/** So often one of the slots is looked at from its start, in ms: should somebody have written ids by hand, it is found by that. */
const DOUBT_MS = 60_000;
/** And so many times its own length apart at least: nothing is read meanwhile. */
const DOUBT_SHARE = 600;
/** A slot that is new is worth waiting for the transactions that are just under way, so often and so long, in ms. */
const LOOKS = 20;
const LOOK_MS = 5;

/** The higher of two ids. */
export function higher(a: bigint, b: bigint): bigint {
  if (a < b) return b;
  return a;
}

/** By the connection of a session, whose statements `run` sends one after the other. */
export function createFloors(
  run: Run,
  queue: Queue,
  { writers = writersOf, doubtMs = DOUBT_MS }: { writers?: typeof writersOf; doubtMs?: number } = {}, // for tests
): Floors {
  const floors = new Map<number, bigint>();
  let settled = createSettled();
  let raiseAt = 0;
  let doubtAt = performance.now() + doubtMs;
  let doubted = 0;
  /** A transaction that was writing when the session began has not ended yet. */
  let unsettled = false;

  /** Up to where all is settled; undefined while that is not known. */
  async function look(): Promise<bigint | undefined> {
    // First the id, then the writers: who has taken an id by now is among them, or has ended.
    const id = await lastId(run, queue);
    if ([...floors.values()].some((floor) => floor > id)) forget();
    return settled.look(id, await writers(run, queue));
  }

  /** The ids begin anew. */
  function forget(): void {
    floors.clear();
    settled = createSettled();
  }

  async function settle(patient: boolean): Promise<bigint | undefined> {
    let id = await look();
    for (let looks = 1; patient && id === undefined && looks < LOOKS; looks += 1) {
      await new Promise((done) => setTimeout(done, LOOK_MS));
      id = await look();
    }
    return id;
  }

  /** The floor stays where it is unless there is a row below it; also when the slot has too much to pass for one statement. */
  async function doubt(slots: readonly number[]): Promise<void> {
    if (performance.now() < doubtAt || slots.length === 0) return;
    doubted = (doubted + 1) % slots.length;
    const askedAt = performance.now();
    const some = [slots[doubted] as number];
    try {
      for (const { slot, lowest } of await lowestOf(run, queue, some, () => 0n))
        if (lowest !== null && BigInt(lowest) <= floorOf(slot)) floors.set(slot, BigInt(lowest) - 1n);
    } catch (err) {
      if (!isCanceled(err)) throw err;
    }
    const now = performance.now();
    doubtAt = now + Math.max(doubtMs, DOUBT_SHARE * (now - askedAt));
  }

  /** The statement begins after the writers were looked at: what they have committed it sees. */
  async function raiseTo(id: bigint, slots: readonly number[]): Promise<void> {
    const rows = await askOfSlots(slots, (some) => lowestOf(run, queue, some, floorOf));
    for (const { slot, lowest } of rows) {
      const below = lowest === null ? id : BigInt(lowest) - 1n;
      floors.set(slot, below < id ? below : id);
    }
  }

  const floorOf = (slot: number) => floors.get(slot) ?? 0n;

  return {
    of: floorOf,

    async raise(slots) {
      await doubt(slots);
      const isNew = (slot: number) => !floors.has(slot);
      const waited = unsettled || !slots.some(isNew);
      if (waited && performance.now() < raiseAt) return;
      raiseAt = performance.now() + RAISE_MS;
      const id = await settle(!waited);
      unsettled = id === undefined;
      if (id === undefined) return;
      const lower = slots.filter((slot) => isNew(slot) || floorOf(slot) < id);
      if (lower.length > 0) await raiseTo(id, lower);
    },

    drop(slot) {
      floors.delete(slot);
    },
  };
}

/** The first row of each slot above its floor. */
function lowestOf(run: Run, queue: Queue, slots: readonly number[], floorOf: (slot: number) => bigint) {
  const from = slots.map((slot) => ({ slot, floor: String(floorOf(slot)) }));
  return run(
    (sql) => sql<{ slot: number; lowest: string | null }[]>`
      SELECT slot, (SELECT id FROM ${sql(queue)} q WHERE q.slot = s.slot AND q.id > s.floor ORDER BY id LIMIT 1)::text AS lowest
      FROM json_to_recordset(${asJson(from)}::text::json) AS s (slot smallint, floor bigint)`,
  );
}

/** The highest id that was ever given out. */
async function lastId(run: Run, queue: Queue): Promise<bigint> {
  const [row] = await run(
    (sql) => sql<{ id: string | null }[]>`
      SELECT pg_sequence_last_value(pg_get_serial_sequence(${queue}, 'id')::regclass)::text AS id`,
  );
  return BigInt(row?.id ?? 0);
}

/**
 * The transactions that may have written to the queue: they take this lock before they take an id, and keep it until what they wrote can be
 * seen. One that is prepared keeps its name.
 */
async function writersOf(run: Run, queue: Queue): Promise<ReadonlySet<string>> {
  const rows = await run(
    (sql) => sql<{ writer: string }[]>`
      SELECT virtualtransaction AS writer FROM pg_catalog.pg_locks
      WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = ${queue}::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return new Set(rows.map(({ writer }) => writer));
}

/** Up to which id every row was committed or never will be. */
export interface Settled {
  /** What is settled, given the highest id given out at some time, and who was writing after that; undefined while nothing is. */
  look(id: bigint, writers: ReadonlySet<string>): bigint | undefined;
}

export function createSettled(): Settled {
  let settled: bigint | undefined;
  /** Settled as soon as the last of these writers has ended. */
  let next: { id: bigint; writers: ReadonlySet<string> } | undefined;
  return {
    look(id, writers) {
      const open = [...(next?.writers ?? [])].filter((writer) => writers.has(writer));
      if (next && open.length > 0) {
        next = { ...next, writers: new Set(open) };
        return settled;
      }
      if (next) settled = next.id;
      next = { id, writers };
      if (writers.size === 0) settled = id;
      return settled;
    },
  };
}
