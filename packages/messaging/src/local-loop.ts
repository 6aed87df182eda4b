import { classifyFailure, rootMessage } from './failures.ts';
import { createFloors } from './floors.ts';
import { type ApplyOptions, applyGuarded, buryLocal } from './local-apply.ts';
import type { LocalReport } from './local-report.ts';
import type { LocalSession } from './local-session.ts';
import { createLocalSlots } from './local-slots.ts';
import { LOOK_BACK_MS } from './look-back.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { createSlotChores, type Nudge, nextSweepAt } from './slot-chores.ts';
import type { ReadLimit } from './slot-read.ts';
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
  let lookBackAt = 0;
  let sweepAt = 0;
  let pollAt = 0;
  let lookedAt = 0;
  let holdUntil = 0;

  const reportTroubles = () => report.troubles(slots.troubles());

  async function work(taken: OutboxMessage[]): Promise<void> {
    const beganAt = performance.now();
    const applied = await applyGuarded(o.apply, taken);
    if (applied.kind === 'applied') {
      const recovered = slots.handled(taken, applied.count, performance.now() - beganAt, applied.ms);
      report.handled(taken.slice(0, applied.count));
      if (recovered) reportTroubles();
    } else if (applied.kind === 'lost') {
      lost(taken);
    } else if (taken.length > 1) {
      slots.split(taken, applied.at);
    } else {
      await failed(taken[0] as OutboxMessage, applied.err, beganAt);
      reportTroubles();
    }
  }

  function lost(taken: OutboxMessage[]): void {
    slots.lost(taken);
    report.lost();
  }

  async function failed(message: OutboxMessage, err: unknown, beganAt: number): Promise<void> {
    const failure = classifyFailure(err);
    const retry = (why: unknown, expected: boolean) => {
      const now = performance.now();
      const trouble = slots.failed(message, now, now - beganAt, rootMessage(why));
      report.failed(message, trouble, why, expected);
    };
    if (failure.kind === 'transient') return retry(err, failure.expected);
    const attempts = slots.failuresOf(message) + 1;
    const holdsKey = o.apply.handlers[message.type]?.ordered ?? false;
    const { kind: _, ...why } = failure;
    try {
      if (!(await buryLocal(o.apply, message, { ...why, holdsKey, attempts }))) return lost([message]);
    } catch (buryErr) {
      return retry(buryErr, true);
    }
    const ms = performance.now() - beganAt;
    if (holdsKey) slots.heldBy(message, ms);
    else slots.handled([message], 1, ms, 0);
    report.buried(message, failure, attempts);
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

  const chores = createSlotChores({
    session,
    nudge,
    onWon() {
      pollAt = 0;
    },
    onLeaving: slots.leave,
    isClear: (slot) => !slots.isBusy(slot),
    onLeft(slot) {
      slots.drop(slot);
      floors.drop(slot);
      reportTroubles();
    },
    async measure() {
      report.depth(await session.depth(floors.of));
    },
  });

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
    await floors.raise(chores.kept());
    const askedAt = performance.now();
    const asked = slots.wanted(chores.kept(), now);
    if (asked.size > 0) {
      const parts = await session.read(asked, slots.excluded(), READ_LIMIT);
      if (slots.offer(asked, parts, performance.now() - askedAt)) reportTroubles();
    } else if (polled) {
      await session.ping();
    }
    lookedAt = performance.now();
    if (sweeps) sweepAt = nextSweepAt(lookedAt - askedAt, lookedAt);
  }

  function readAt(): number {
    const told = nudge.look ? (running.size > 0 ? lookedAt + LOOK_APART_MS : 0) : Number.POSITIVE_INFINITY;
    return Math.min(told, pollAt, sweepAt, slots.readAt());
  }

  const onLost = () => wake.up();
  session.signal.addEventListener('abort', onLost);
  try {
    while (!o.stopping.aborted) {
      session.signal.throwIfAborted();
      const now = performance.now();
      await chores.share(now);
      if (now >= readAt()) await read(now);
      await chores.measure(now);
      startWork();
      const held = holdUntil > performance.now() ? holdUntil : Number.POSITIVE_INFINITY;
      const next = Math.min(readAt(), chores.nextAt(), held);
      await wake.sleep(Math.max(0, next - performance.now()));
    }
  } finally {
    session.signal.removeEventListener('abort', onLost);
    // Their slots may have another owner by now; each of them finds out by what it can delete.
    await Promise.all(running);
  }
}
