import { classifyFailure, rootMessage } from './failures.ts';
import { createFloors } from './floors.ts';
import { type ApplyOptions, applyGuarded, buryLocal } from './local-apply.ts';
import type { LocalReport } from './local-report.ts';
import type { LocalSession } from './local-session.ts';
import { createLocalSlots } from './local-slots.ts';
import { LOOK_BACK_MS } from './look-back.ts';
import type { Nudge } from './relay-loop.ts';
import type { OutboxMessage } from './relay-queue.ts';
import type { ReadLimit } from './relay-session.ts';
import { isCanceled } from './slot-session.ts';
import type { Wake } from './wake.ts';

export interface LocalLoopOptions {
  session: LocalSession;
  apply: ApplyOptions;
  /** Transactions at a time; each takes a connection of the pool. */
  concurrency: number;
  pollMs: number;
  /** Ends the loop after the transactions under way. */
  stopping: AbortSignal;
  wake: Wake;
  nudge: Nudge;
  report: LocalReport;
}

/** Every so often all slots are read from their lowest id, in ms. */
const SWEEP_MS = 1000;
/** A sweep is so many times its own length apart from the next at least: it passes what was deleted above the floors. */
const SWEEP_SHARE = 20;
/** But no further, in ms: what a person released, or what was committed late, is found by it. */
const SWEEP_AT_MOST_MS = 3000;
/** How often it is looked who is there to share the slots with, in ms. */
const SHARE_MS = 500;
const MEASURE_MS = 5000;
/** A measurement is so many times its own length apart from the next at least. */
const MEASURE_APART = 50;
/** The other workers are told of commits at most this often, in ms: a NOTIFY takes a lock of the whole server. */
const ANNOUNCE_MS = 20;
/** While a transaction is under way the table is looked at so far apart, in ms, however much is committed: more comes at once. */
const LOOK_APART_MS = 3;
/** A transaction that takes longer is not waited for by what could share the next one, in ms. */
const HOLD_MS = 10;
/** Of one slot in one read. */
const READ_LIMIT: ReadLimit = { rows: 100, bytes: 256 * 1024 };

/**
 * Handles messages with one session until it is lost (then it throws) or the worker is stopped. The session only owns slots
 * and reads; transactions go through the pool, up to `concurrency` at a time, never two with messages of one slot.
 */
export async function localLoop(o: LocalLoopOptions): Promise<void> {
  const { session, report, wake, nudge } = o;
  const floors = createFloors(session.run, 'outbox_local');
  const slots = createLocalSlots(floors.of);
  const running = new Set<Promise<void>>();
  /** Slots that others are to have as soon as nothing of them is under way here. */
  const leaving = new Set<number>();
  let lookBackAt = 0;
  let sweepAt = 0;
  let pollAt = 0;
  let shareAt = 0;
  let measureAt = 0;
  let announceAt = 0;
  let lookedAt = 0;
  let holdUntil = 0;

  async function work(taken: OutboxMessage[]): Promise<void> {
    const applied = await applyGuarded(o.apply, taken);
    if (applied.kind === 'applied') {
      const recovered = slots.handled(taken, applied.count, applied.ms);
      report.handled(taken.slice(0, applied.count));
      if (recovered) report.troubles(slots.troubles());
    } else if (applied.kind === 'lost') {
      lost(taken);
    } else if (taken.length > 1) {
      slots.split(taken, applied.at);
    } else {
      await failed(taken[0] as OutboxMessage, applied.err);
      report.troubles(slots.troubles());
    }
  }

  function lost(taken: OutboxMessage[]): void {
    slots.lost(taken);
    report.lost();
  }

  async function failed(message: OutboxMessage, err: unknown): Promise<void> {
    const failure = classifyFailure(err);
    if (failure.kind === 'transient') return retry(message, err, failure.expected);
    const attempts = slots.failuresOf(message) + 1;
    const holdsKey = o.apply.handlers[message.type]?.ordered ?? false;
    const { kind: _, ...why } = failure;
    try {
      if (!(await buryLocal(o.apply, message, { ...why, holdsKey, attempts }))) return lost([message]);
    } catch (buryErr) {
      return retry(message, buryErr, true);
    }
    if (holdsKey) slots.heldBy(message);
    else slots.handled([message], 1, 0);
    report.buried(message, failure, attempts);
  }

  function retry(message: OutboxMessage, err: unknown, expected: boolean): void {
    const trouble = slots.failed(message, performance.now(), rootMessage(err));
    report.failed(message, trouble, err, expected);
  }

  function startWork(): void {
    while (running.size < o.concurrency && !o.stopping.aborted && session.isFresh()) {
      const taken = slots.take(running.size > 0 && performance.now() < holdUntil);
      if (!taken) return;
      holdUntil = performance.now() + HOLD_MS;
      const done = work(taken).finally(() => {
        running.delete(done);
        startWork();
        wake.up();
      });
      running.add(done);
    }
  }

  async function share(): Promise<void> {
    const { won, surplus } = await session.share();
    if (won) pollAt = 0;
    for (const slot of kept().slice(0, Math.max(0, surplus - leaving.size))) leaving.add(slot);
  }

  async function giveUp(): Promise<void> {
    const clear = [...leaving].filter((slot) => !slots.isBusy(slot));
    for (const slot of clear) {
      slots.drop(slot);
      floors.drop(slot);
      leaving.delete(slot);
    }
    if (clear.length > 0) await session.release(clear);
  }

  function kept(): number[] {
    return session.owned().filter((slot) => !leaving.has(slot));
  }

  async function read(now: number): Promise<void> {
    const polled = now >= pollAt;
    pollAt = now + o.pollMs;
    nudge.look = false;
    if (now >= lookBackAt) {
      lookBackAt = now + LOOK_BACK_MS;
      slots.lookBack();
    }
    const sweeps = now >= sweepAt;
    if (sweeps) slots.rewindAll();
    await floors.raise(kept());
    const askedAt = performance.now();
    const asked = slots.wanted(kept(), now);
    if (asked.size > 0) slots.offer(asked, await session.read(asked, slots.excluded(now), READ_LIMIT));
    else if (polled) await session.ping();
    lookedAt = performance.now();
    if (!sweeps) return;
    const apart = Math.min(SWEEP_SHARE * (lookedAt - askedAt), SWEEP_AT_MOST_MS);
    sweepAt = Math.max(now + SWEEP_MS, lookedAt + apart);
  }

  async function measure(): Promise<void> {
    try {
      report.depth(await session.depth(floors.of));
    } catch (err) {
      if (!isCanceled(err)) throw err; // else the last figures stay
    }
  }

  function readAt(): number {
    const told = nudge.look ? (running.size > 0 ? lookedAt + LOOK_APART_MS : 0) : Number.POSITIVE_INFINITY;
    return Math.min(told, pollAt, sweepAt, slots.readAt(performance.now()));
  }

  const onLost = () => wake.up();
  session.signal.addEventListener('abort', onLost);
  try {
    while (!o.stopping.aborted) {
      session.signal.throwIfAborted();
      const now = performance.now();
      if (now >= shareAt) {
        shareAt = now + SHARE_MS;
        await share();
      }
      if (leaving.size > 0) await giveUp();
      if (nudge.announce && now >= announceAt) {
        nudge.announce = false;
        announceAt = now + ANNOUNCE_MS;
        await session.announce();
      }
      if (now >= readAt()) await read(now);
      if (now >= measureAt) {
        await measure();
        measureAt = now + Math.max(MEASURE_MS, MEASURE_APART * (performance.now() - now));
      }
      startWork();
      const tell = nudge.announce ? announceAt : Number.POSITIVE_INFINITY;
      const held = holdUntil > performance.now() ? holdUntil : Number.POSITIVE_INFINITY;
      const next = Math.min(readAt(), shareAt, measureAt, tell, held);
      await wake.sleep(Math.max(0, next - performance.now()));
    }
  } finally {
    session.signal.removeEventListener('abort', onLost);
    // Their slots may have another owner by now; each of them finds out by what it can delete.
    await Promise.all(running);
  }
}
