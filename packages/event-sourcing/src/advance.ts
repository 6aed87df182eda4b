import type { Database, Transaction } from '@sidecart/kit/db';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import type { Archived } from './archive.ts';
import type { Tagged } from './decider.ts';
import { ForeignPositionError } from './errors.ts';
import type { Projection } from './projection.ts';
import { eventsBetween, eventsSince, type PositionedRow, positionBefore, toRecorded } from './reader.ts';
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
  /** Applied. */
  rows: readonly PositionedRow[];
  /** It needs the archive after this one, which is not read while a transaction waits. */
  wantsArchiveAfter?: string;
  /** From now on these rows are read. */
  switched?: boolean;
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

/** Events in one transaction at most; of a large difference, where nobody waits for single ones, more. */
const PAGE = 500;
const LARGE_PAGE = 5000;

const NOTHING: Step = { more: false, rows: [] };

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

  async function apply(tx: Transaction, rows: readonly PositionedRow[]): Promise<void> {
    for (let from = 0; from < rows.length; from += LARGE_PAGE)
      await projection.apply(
        tx,
        generation,
        toRecorded<Event>(o.shapes, rows.slice(from, from + LARGE_PAGE)),
      );
  }

  /** What there is now; a large difference is begun. */
  async function follow(tx: Transaction, at: Subscription, limit: number): Promise<Followed> {
    const { rows: found, now } = await eventsSince(tx, at.done, limit);
    if (!found) {
      await pageFrom(tx, its, { target: now, afterPos: await positionBefore(tx, at.done), built: 0 });
      return { more: true, rows: [], all: false, now };
    }
    const rows = found.filter(isDetail);
    await apply(tx, rows);
    // Without events only to be rid of transactions that were running: while the position has some, each look takes the lock.
    if (found.length > 0 || (!isQuiet(at.done) && isQuiet(now)))
      await finish(tx, its, { now, built: rows.length });
    return { more: false, rows, all: true, now };
  }

  /** A part of a large difference. */
  async function followPages(tx: Transaction, at: Subscription, target: string): Promise<Step> {
    const { done, after_pos: afterPos } = at;
    const { rows, upTo } = await eventsBetween(tx, { done, target, afterPos, limit: LARGE_PAGE });
    await apply(tx, rows);
    const built = rows.length;
    if (upTo === undefined) await finish(tx, its, { now: target, built });
    else await pageFrom(tx, its, { target, afterPos: upTo, built });
    return { more: true, rows };
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
    return { more: true, rows: [...first.rows, ...last.rows], switched: last.all };
  }

  async function buildFromArchives(tx: Transaction, at: Subscription): Promise<Step> {
    if (given?.after !== at.after_archive)
      return { more: true, rows: [], wantsArchiveAfter: at.after_archive };
    const { archive } = given;
    if (!archive) {
      const { now } = await eventsSince(tx, NOTHING_DONE, 0);
      await pageFrom(tx, its, { target: now, afterPos: '0', built: 0 });
      return { more: true, rows: [] };
    }
    await apply(tx, archive.rows);
    await passArchive(tx, its, { archive: archive.id, built: archive.rows.length });
    return { more: true, rows: archive.rows };
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

/** Whether nothing was running that may commit later. */
function isQuiet(snapshot: string): boolean {
  return snapshot.endsWith(':');
}

function isDetail({ type }: PositionedRow): boolean {
  return type !== CONDENSED;
}
