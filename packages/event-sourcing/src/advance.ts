import { setImmediate } from 'node:timers/promises';
import type { Database, Transaction } from '@sidecart/kit/db';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import type { Archived } from './archive.ts';
import type { Tagged } from './decider.ts';
import { ForeignPositionError } from './errors.ts';
import type { Projection } from './projection.ts';
import {
  eventsBetween,
  eventsSince,
  type PlainRow,
  type PositionedRow,
  positionBefore,
  toPlain,
  toRecorded,
} from './reader.ts';
import {
  finish,
  type Generation,
  lockLive,
  lockSubscription,
  NOTHING_DONE,
  pageFrom,
  passArchive,
  type Subscription,
  switchTo,
} from './subscription.ts';

/** What a step of a read model has done. */
export interface Step {
  /** There may be more to do. */
  more: boolean;
  applied: Applied;
  /** It needs the archive after this one, which is not read while a transaction waits. */
  wantsArchiveAfter?: string;
  /** From now on these rows are read. */
  switched?: boolean;
}

/** Not the rows, which would be kept alive for who only counts them. */
export interface Applied {
  events: number;
  /** When the last one was appended, in ms of the epoch; undefined: there was none. */
  lastAt: number | undefined;
}

interface Followed extends Step {
  /** Nothing more was there. */
  all: boolean;
  now: string;
}

/** An archive that was read for a step; undefined: there is none after that one. */
export interface GivenArchive {
  after: string;
  archive: Archived | undefined;
}

/** Events in one transaction at most. Of a large difference, where nobody waits for single ones, more are read at once. */
const PAGE = 500;
const LARGE_PAGE = 5000;
/** Of a large difference a transaction reads on for so long, in ms. Much longer, and who waits for the subscription's row gives up. */
const READ_ON_MS = 500;

const NONE: Applied = { events: 0, lastAt: undefined };
const NOTHING: Step = { more: false, applied: NONE };

/**
 * One transaction's worth for one generation: the effect of some events, and the position after them. The row of the subscription is
 * locked, so of several replicas one at a time does it, and what one dies over another does again.
 */
export async function advance<Event extends Tagged>(
  o: { database: Database; shapes: AnyAggregate['events'] },
  projection: Projection<Event>,
  generation: number,
  given?: GivenArchive,
): Promise<Step> {
  const its: Generation = { name: projection.name, codeVersion: projection.codeVersion, generation };

  const plain = projection.needsMeta === false;

  async function apply(tx: Transaction, rows: readonly PlainRow[]): Promise<Applied> {
    for (let from = 0; from < rows.length; from += LARGE_PAGE) {
      const part = rows.slice(from, from + LARGE_PAGE);
      if (projection.needsMeta === false)
        await projection.apply(tx, generation, toPlain<Event>(o.shapes, part));
      // Rows without it are read for who does not need it alone.
      else await projection.apply(tx, generation, toRecorded<Event>(o.shapes, part as PositionedRow[]));
    }
    return { events: rows.length, lastAt: rows.at(-1)?.at };
  }

  /** What there is now; a large difference is begun. */
  async function follow(tx: Transaction, at: Subscription, limit: number): Promise<Followed> {
    const { rows: found, now } = await eventsSince(tx, at.done, limit);
    if (!found) {
      await pageFrom(tx, its, { target: now, afterPos: await positionBefore(tx, at.done), built: 0 });
      return { more: true, applied: NONE, all: false, now };
    }
    const applied = await apply(tx, found.filter(isDetail));
    // Without events only to be rid of transactions that were running: while the position has some, each look takes the lock.
    if (found.length > 0 || (!isQuiet(at.done) && isQuiet(now)))
      await finish(tx, its, { now, built: applied.events });
    return { more: false, applied, all: true, now };
  }

  /** Some parts of a large difference. The next is read while one is applied, so that database and service do not wait for each other in turn. */
  async function followPages(tx: Transaction, at: Subscription, target: string): Promise<Step> {
    const read = (afterPos: string) =>
      eventsBetween(tx, { done: at.done, target, afterPos, limit: LARGE_PAGE, plain });
    let applied = NONE;
    let { rows, upTo } = await read(at.after_pos);
    const until = performance.now() + READ_ON_MS;
    for (;;) {
      const next = upTo !== undefined && performance.now() < until ? read(upTo) : undefined;
      if (next) await onItsWay(next);
      applied = sum(applied, await apply(tx, rows));
      if (!next) break;
      ({ rows, upTo } = await next);
    }
    const built = applied.events;
    if (upTo === undefined) await finish(tx, its, { now: target, built });
    else await pageFrom(tx, its, { target, afterPos: upTo, built });
    return { more: true, applied };
  }

  /** First what was archived, then what there is up to a moment, then what has come since; with the last of that it goes live. */
  async function build(tx: Transaction, at: Subscription): Promise<Step> {
    if (at.target !== null) return followPages(tx, at, at.target);
    if (at.done === NOTHING_DONE) return buildFromArchives(tx, at);
    const first = await follow(tx, at, PAGE);
    if (!first.all) return first;
    // Nothing is left but what comes just now. The one that is read stands still while that is done, so that the new one is never
    // behind it when it takes its place.
    await lockLive(tx, its.name);
    const last = await follow(tx, { ...at, done: first.now }, LARGE_PAGE);
    if (last.all) await switchTo(tx, its);
    return { more: true, applied: sum(first.applied, last.applied), switched: last.all };
  }

  async function buildFromArchives(tx: Transaction, at: Subscription): Promise<Step> {
    if (given?.after !== at.after_archive)
      return { more: true, applied: NONE, wantsArchiveAfter: at.after_archive };
    const { archive } = given;
    if (!archive) {
      const { now } = await eventsSince(tx, NOTHING_DONE, 0);
      await pageFrom(tx, its, { target: now, afterPos: '0', built: 0 });
      return { more: true, applied: NONE };
    }
    const applied = await apply(tx, archive.rows);
    await passArchive(tx, its, { archive: archive.id, built: applied.events });
    return { more: true, applied };
  }

  return o.database.db.transaction(
    async (tx) => {
      const at = await lockSubscription(tx, its);
      if (!at) return NOTHING;
      if (at.foreign) throw new ForeignPositionError(its.name);
      if (at.state === 'building') return build(tx, at);
      return at.target === null ? follow(tx, at, PAGE) : followPages(tx, at, at.target);
    },
    { isolationLevel: 'read committed' },
  );
}

/** Of one after the other. */
function sum(first: Applied, then: Applied): Applied {
  return { events: first.events + then.events, lastAt: then.lastAt ?? first.lastAt };
}

/**
 * Returns when a statement has been sent. The driver collects what it is asked for until the next turn of the event loop; what
 * computes before that keeps the server waiting.
 */
async function onItsWay(asked: Promise<unknown>): Promise<void> {
  // It may fail while nobody waits for it, which is seen when its turn has come.
  asked.catch(() => {});
  await setImmediate();
  await setImmediate();
}

/** Whether nothing was running that may commit later. */
function isQuiet(snapshot: string): boolean {
  return snapshot.endsWith(':');
}

function isDetail({ type }: PositionedRow): boolean {
  return type !== CONDENSED;
}
