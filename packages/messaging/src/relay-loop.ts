import { withDeadline } from './deadline.ts';
import { createFloors } from './floors.ts';
import { LOOK_BACK_MS } from './look-back.ts';
import { createRelayCursors } from './relay-cursors.ts';
import { createRelayQueue, type OutboxMessage, type PublishError } from './relay-queue.ts';
import type { RelayReport } from './relay-report.ts';
import type { RelaySession } from './relay-session.ts';
import { createSlotChores, type Nudge } from './slot-chores.ts';
import type { ReadLimit, SlotPart } from './slot-read.ts';
import type { Wake } from './wake.ts';

export interface LoopOptions {
  session: RelaySession;
  publish: (message: OutboxMessage) => Promise<void>;
  /** What an error says was refused, if it is that. */
  refusedBy: (err: unknown) => PublishError['refused'];
  concurrency: number;
  pollMs: number;
  /** Ends the loop after what is in flight. */
  stopping: AbortSignal;
  /** Acknowledged and not yet deleted. Outlives a session: an acknowledgement stays true. */
  acknowledged: Map<bigint, OutboxMessage>;
  wake: Wake;
  nudge: Nudge;
  report: RelayReport;
}

/** While messages are in flight the outbox is looked at so far apart, in ms, however much is committed: more comes at once. */
const LOOK_APART_MS = 3;
/** And what is left of long keys so far apart. */
const REFILL_APART_MS = 3;
/** And what was acknowledged is removed so far apart, in ms: one statement for many. What dies before it is published again. */
const REMOVE_APART_MS = 3;
/** Of those so many in one statement: however many there are, each has to be done before the database ends it. */
const REMOVED_AT_MOST = 1000;
/** A publish that has not settled by then counts as failed, in ms. */
const PUBLISH_MS = 10_000;
/** How long a stop waits for messages in flight, in ms; those not answered by then are published again. */
const DRAIN_MS = 4000;
/** Of one slot in one read. */
const READ_LIMIT: ReadLimit = { rows: 100, bytes: 256 * 1024 };
/** While memory is full: whether the slot has come to a row that is not left out. */
const ONE: ReadLimit = { rows: 1, bytes: 1 };
/** No more is read while so many messages wait in memory, or so many bytes of them. */
const CAPACITY = { messages: 1000, bytes: 8 * 1024 * 1024 };

/**
 * Relays with one session until it is lost (then it throws) or the relay is stopped. All statements of a session come
 * from here, one after the other; publishing goes on beside them.
 */
export async function relayLoop(o: LoopOptions): Promise<void> {
  const { session, acknowledged, report, wake, nudge } = o;
  const floors = createFloors(session.run, 'outbox');
  const cursors = createRelayCursors(floors.of);
  const queue = createRelayQueue(cursors);
  const inFlight = new Set<Promise<void>>();
  let lookBackAt = 0;
  let pollAt = 0;
  let lookedAt = 0;
  let refilledAt = 0;
  let removedAt = 0;
  /** The last read did not show everything. */
  let more = false;

  async function publishOne(message: OutboxMessage): Promise<void> {
    const late = () => new Error(`Publishing did not end within ${PUBLISH_MS} ms`);
    const askedAt = performance.now();
    try {
      await withDeadline(PUBLISH_MS, o.publish(message), late);
    } catch (err) {
      const refused = o.refusedBy(err);
      const text = err instanceof Error ? err.message : String(err);
      const isNews = queue.failed(message, performance.now(), { message: text, refused });
      report.failed(message, err, { refused, isNews });
      report.keys(queue.status());
      return;
    }
    acknowledged.set(message.id, message);
    const recovered = queue.succeeded(message);
    report.published(message, (performance.now() - askedAt) / 1000);
    if (recovered) report.keys(queue.status());
  }

  function publishDue(): void {
    while (inFlight.size < o.concurrency && !o.stopping.aborted && session.isFresh()) {
      const message = queue.next(performance.now());
      if (!message) return;
      const done = publishOne(message).finally(() => {
        inFlight.delete(done);
        publishDue();
        wake.up();
      });
      inFlight.add(done);
    }
  }

  async function removeAcknowledged(): Promise<void> {
    const gone = [...acknowledged.values()].slice(0, REMOVED_AT_MOST);
    await session.remove(gone);
    removedAt = performance.now();
    for (const { id } of gone) acknowledged.delete(id);
    queue.deleted(gone.map(({ id }) => id));
  }

  const chores = createSlotChores({
    session,
    nudge,
    onWon() {
      pollAt = 0;
    },
    onLeaving: queue.leave,
    // Nobody else may publish a key of it while one of its messages is on its way from here, or not yet removed.
    isClear: (slot) =>
      queue.hasLeft(slot) && ![...acknowledged.values()].some((message) => message.slot === slot),
    onLeft(slot) {
      floors.drop(slot);
      queue.left(slot);
    },
    async measure() {
      report.keys(queue.status());
      report.depth(await session.depth(floors.of));
    },
  });

  async function read(now: number): Promise<void> {
    pollAt = now + o.pollMs;
    nudge.look = false;
    const hasRoom = fullness() < 1;
    // What is left out takes no room, and a slot that passed it only now and then would be held up by the backlog of all others.
    const slots = hasRoom ? chores.kept() : cursors.onTheirWay(chores.kept());
    if (slots.length === 0) return session.ping();
    if (now >= lookBackAt) {
      lookBackAt = now + LOOK_BACK_MS;
      cursors.lookBack();
    }
    await floors.raise(slots);
    const without = queue.exclusions();
    if (queue.wantsRewind()) cursors.rewind(queue.rewound());
    const askedAt = performance.now();
    const parts = await session.read(cursors.begin(slots, now), without, hasRoom ? READ_LIMIT : ONE);
    const rows = [...parts.values()].flatMap((part) => part.rows);
    lookedAt = performance.now();
    queue.offer(rows);
    cursors.end(parts, lookedAt - askedAt, lookedAt);
    const foundMore = [...parts.values()].some((part) => part.more);
    more = foundMore || (more && !hasRoom);
  }

  function readAt(): number {
    const kept = chores.kept();
    const isRoomy = fullness() < 0.5;
    const again = (more || queue.wantsRewind()) && isRoomy && kept.length > 0;
    const passing = !isRoomy && cursors.onTheirWay(kept).length > 0;
    const told = nudge.look ? apart(lookedAt, LOOK_APART_MS) : Number.POSITIVE_INFINITY;
    const passAt = passing ? apart(lookedAt, LOOK_APART_MS) : Number.POSITIVE_INFINITY;
    // One that is due begins as soon as there is room.
    const sweepAt = fullness() < 1 ? cursors.sweepAt(kept) : Number.POSITIVE_INFINITY;
    return again ? 0 : Math.min(told, passAt, pollAt, sweepAt);
  }

  async function refill(): Promise<void> {
    const places = queue.wanted();
    const parts = await session.readKeys(places, READ_LIMIT);
    for (const [n, place] of places.entries()) queue.refill(place, parts[n] as SlotPart);
    refilledAt = performance.now();
  }

  function refillAt(): number {
    const isWanted = fullness() < 1 && queue.wanted().length > 0;
    return isWanted ? apart(refilledAt, REFILL_APART_MS) : Number.POSITIVE_INFINITY;
  }

  /** Of what may wait in memory, 1 for all of it. */
  function fullness(): number {
    return Math.max(queue.sendable() / CAPACITY.messages, queue.sendableBytes() / CAPACITY.bytes);
  }

  function removeAt(): number {
    return acknowledged.size === 0 ? Number.POSITIVE_INFINITY : apart(removedAt, REMOVE_APART_MS);
  }

  /** At once when there is nothing else to do. */
  function apart(last: number, ms: number): number {
    return inFlight.size > 0 ? last + ms : 0;
  }

  const onLost = () => wake.up();
  session.signal.addEventListener('abort', onLost);
  try {
    while (!o.stopping.aborted) {
      session.signal.throwIfAborted();
      const now = performance.now();
      if (now >= removeAt()) await removeAcknowledged();
      await chores.share(now);
      if (now >= readAt()) await read(now);
      if (now >= refillAt()) await refill();
      await chores.measure(now);
      publishDue();
      const due = queue.nextDue(performance.now()) ?? Number.POSITIVE_INFINITY;
      const next = Math.min(readAt(), refillAt(), removeAt(), chores.nextAt(), due);
      await wake.sleep(Math.max(0, next - performance.now()));
    }
    await drain();
    while (acknowledged.size > 0) await removeAcknowledged();
  } finally {
    session.signal.removeEventListener('abort', onLost);
    // Nobody may publish a key of this session again while one of its messages is still on its way.
    if (!o.stopping.aborted) await Promise.all(inFlight);
  }

  async function drain(): Promise<void> {
    const late = () => new Error('late');
    await withDeadline(DRAIN_MS, Promise.all(inFlight), late).catch(() => {});
  }
}
