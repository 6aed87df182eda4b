import type { Database, Transaction } from '@sidecart/kit/db';
import { isTransientDbError } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { runPrepared } from '@sidecart/messaging/prepared';
import { createWake, type Wake } from '@sidecart/messaging/wake';
import type { Shape } from './aggregate.ts';
import { type ArchiveStore, nextArchive } from './archive.ts';
import type { Tagged } from './decider.ts';
import { ForeignPositionError } from './errors.ts';
import type { Projection } from './projection.ts';
import { createProjectorReport } from './projector-report.ts';
import { eventsBetween, eventsSince, type PositionedRow, toRecorded } from './reader.ts';
import {
  beginBuilding,
  finish,
  finishPages,
  lockSubscription,
  pageFrom,
  passArchive,
  type Subscription,
  switchTo,
} from './subscription.ts';

export interface ProjectorOptions<Event extends Tagged> {
  database: Database;
  /** Of every event of this service. */
  shapes: Readonly<Record<string, Shape>>;
  projections: readonly Projection<Event>[];
  archive: ArchiveStore;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** How often it is looked for events that another process appended, in ms; default 250. */
  pollMs?: number;
}

export interface Projector extends Worker {
  /** Something was appended; its transaction has not committed yet. */
  appended(): void;
  /** Begins to build a read model anew, beside the one that is read. */
  rebuild(name: string): Promise<void>;
}

type Lane = 'live' | 'building';

/** Events in one transaction at most; of a large difference, when nobody waits for single ones, more. */
const PAGE = 500;
const LARGE_PAGE = 5000;
/** Two looks are at least so far apart, in ms, so that a busy shop is looked at in batches. */
const APART_MS = 5;
/** A transaction that lasts longer after its append is found by the next poll, in ms. */
const LONGEST_MS = 10_000;
const FAILED_PAUSE_MS = 2000;
const DISCARD = 5000;

/**
 * Keeps read models up to date: effect and position in one transaction, so that no event is skipped and none counts twice. Any number
 * of replicas may run it; one at a time works at a read model.
 */
export function createProjector<Event extends Tagged>(o: ProjectorOptions<Event>): Projector {
  const { db } = o.database;
  const report = createProjectorReport(o);
  const wakes: Record<Lane, Wake> = { live: createWake(), building: createWake() };
  let appendedAt = Number.NEGATIVE_INFINITY;
  let stopping = false;
  let ended: Promise<unknown> = Promise.resolve();

  o.database.onCommit(() => {
    if (performance.now() - appendedAt < LONGEST_MS) {
      appendedAt = Number.NEGATIVE_INFINITY;
      wakes.live.up();
    }
  });

  /** One transaction's worth for one generation. True: there may be more. */
  async function advance(projection: Projection<Event>, generation: number): Promise<boolean> {
    return db.transaction(
      async (tx) => {
        const at = await lockSubscription(tx, projection.name, generation);
        if (!at) return false;
        if (at.foreign) throw new ForeignPositionError(projection.name);
        return at.state === 'building' ? build(tx, projection, at) : follow(tx, projection, at);
      },
      { isolationLevel: 'repeatable read' },
    );
  }

  async function follow(tx: Transaction, projection: Projection<Event>, at: Subscription): Promise<boolean> {
    if (at.target !== null) return page(tx, projection, at, at.target);
    const rows = await eventsSince(tx, at.done, PAGE + 1);
    if (rows.length === 0) return false;
    const now = rows.slice(0, PAGE);
    await apply(tx, projection, at, now);
    if (rows.length <= PAGE) await finish(tx, projection.name, at.generation);
    else await pageFrom(tx, projection.name, at.generation, { afterPos: lastPos(now), built: 0 });
    return rows.length > PAGE;
  }

  /** First what was archived, then what there is up to a moment, then what has come since; with the last of that it goes live. */
  async function build(tx: Transaction, projection: Projection<Event>, at: Subscription): Promise<boolean> {
    const { name } = projection;
    if (at.target === null && at.done === '1:1:') {
      const archived = await nextArchive(tx, o.archive, at.after_archive);
      if (archived) {
        await apply(tx, projection, at, archived.rows);
        await passArchive(tx, name, at.generation, { archive: archived.id, built: archived.rows.length });
      } else await pageFrom(tx, name, at.generation, { afterPos: '0', built: 0 });
      return true;
    }
    if (at.target !== null) return page(tx, projection, at, at.target);
    const rows = await eventsSince(tx, at.done, LARGE_PAGE + 1);
    const now = rows.slice(0, LARGE_PAGE);
    await apply(tx, projection, at, now);
    if (rows.length > LARGE_PAGE) {
      await pageFrom(tx, name, at.generation, { afterPos: lastPos(now), built: now.length });
      return true;
    }
    await finish(tx, name, at.generation);
    await switchTo(tx, name, at.generation);
    report.switched(name, at.generation);
    return true;
  }

  async function page(
    tx: Transaction,
    projection: Projection<Event>,
    { generation, done, after_pos: afterPos }: Subscription,
    target: string,
  ): Promise<boolean> {
    const rows = await eventsBetween(tx, { done, target, afterPos, limit: LARGE_PAGE });
    await apply(tx, projection, { generation }, rows);
    if (rows.length < LARGE_PAGE) await finishPages(tx, projection.name, generation, rows.length);
    else await pageFrom(tx, projection.name, generation, { afterPos: lastPos(rows), built: rows.length });
    return true;
  }

  async function apply(
    tx: Transaction,
    projection: Projection<Event>,
    { generation }: Pick<Subscription, 'generation'>,
    rows: readonly PositionedRow[],
  ): Promise<void> {
    if (rows.length === 0) return;
    await projection.apply(tx, generation, toRecorded<Event>(o.shapes, rows));
    report.applied(projection.name, rows);
  }

  async function generation(projection: Projection<Event>, lane: Lane): Promise<number | undefined> {
    const [row] = await runPrepared<{ generation: number }>(
      db,
      'subscription_generation',
      `SELECT generation FROM subscriptions WHERE name = $1::text AND state = $2::text AND code_version = $3::int`,
      [projection.name, lane, projection.codeVersion],
    );
    return row?.generation;
  }

  /** Begins the first generation, and that of a new version of the code; throws away those that are no longer read. */
  async function tend(projection: Projection<Event>): Promise<void> {
    const { name, codeVersion } = projection;
    const rows = await runPrepared<{ generation: number; code_version: number; state: string }>(
      db,
      'subscription_generations',
      'SELECT generation, code_version, state FROM subscriptions WHERE name = $1::text ORDER BY generation',
      [name],
    );
    for (const row of rows) if (row.state === 'retired') await discard(projection, row.generation);
    const current = rows.filter(({ state }) => state !== 'retired');
    if (current.every((row) => row.code_version < codeVersion && row.state !== 'building'))
      await beginBuilding(o.database, name, codeVersion);
  }

  async function discard(projection: Projection<Event>, generation: number): Promise<void> {
    while (!stopping && (await projection.discard(db, generation, DISCARD)) > 0);
    if (stopping) return;
    await runPrepared(
      db,
      'subscription_discard',
      `DELETE FROM subscriptions WHERE name = $1::text AND generation = $2::int AND state = 'retired'`,
      [projection.name, generation],
    );
  }

  async function catchUp(projection: Projection<Event>, lane: Lane): Promise<void> {
    try {
      if (lane === 'building') await tend(projection);
      const current = await generation(projection, lane);
      while (!stopping && current !== undefined && (await advance(projection, current)));
      report.ok(projection.name, lane);
    } catch (err) {
      // Another replica was at it between our look and our write.
      if (isSerializationFailure(err)) return;
      report.failed(projection.name, lane, err, isTransientDbError(err));
      throw err;
    }
  }

  /** What is read is kept up to date whatever is being built beside it. */
  async function run(lane: Lane): Promise<void> {
    while (!stopping) {
      let failed = false;
      for (const projection of o.projections)
        await catchUp(projection, lane).catch(() => {
          failed = true;
        });
      if (!stopping) await wakes[lane].sleep(failed ? FAILED_PAUSE_MS : (o.pollMs ?? 250));
      if (!stopping) await new Promise((resolve) => setTimeout(resolve, APART_MS));
    }
  }

  return {
    name: 'projector',
    appended() {
      appendedAt = performance.now();
    },
    async rebuild(name) {
      const projection = o.projections.find((candidate) => candidate.name === name);
      if (!projection)
        throw new TypeError(
          `There is no projection ${name}; there are ${o.projections.map((p) => p.name).join(', ')}`,
        );
      await beginBuilding(o.database, name, projection.codeVersion);
      wakes.building.up();
    },
    start() {
      ended = Promise.all([run('live'), run('building')]);
    },
    async stop() {
      stopping = true;
      for (const wake of Object.values(wakes)) wake.up();
      await ended;
    },
  };
}

function lastPos(rows: readonly PositionedRow[]): string {
  const last = rows.at(-1);
  if (!last) throw new Error('A page without rows has no last position');
  return last.pos;
}

function isSerializationFailure(err: unknown): boolean {
  for (let at = err as { code?: unknown; cause?: unknown } | undefined; at; at = at.cause as typeof at)
    if (at.code === '40001') return true;
  return false;
}
