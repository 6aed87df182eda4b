import { type Database, isTransientDbError } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { createWake, type Wake } from '@sidecart/messaging/wake';
import { advance, type GivenArchive } from './advance.ts';
import type { Shape } from './aggregate.ts';
import { type ArchiveStore, nextArchive } from './archive.ts';
import type { Tagged } from './decider.ts';
import { NeglectedProjectionError, UnknownProjectionError } from './errors.ts';
import type { Projection } from './projection.ts';
import { createProjectorReport } from './projector-report.ts';
import {
  type Begun,
  beginBuilding,
  dropGeneration,
  generations,
  isNeeded,
  isNeglected,
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
  /**
   * Begins to build a read model anew, beside the one that is read. What other code was building of it is given up.
   *
   * @throws UnknownProjectionError
   */
  rebuild(name: string): Promise<Begun>;
  /** What there is to build. */
  names: readonly string[];
}

type Lane = 'live' | 'building';

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
  const names = o.projections.map(({ name }) => name);
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

  /** Works until there is nothing left to do for now. */
  async function work(projection: Projection<Event>, generation: number): Promise<void> {
    let given: GivenArchive | undefined;
    while (!stopping) {
      const { more, applied, wantsArchiveAfter, switched } = await advance(o, projection, generation, given);
      report.applied(projection.name, applied);
      if (switched) {
        report.switched(projection.name, generation);
        wakes.live.up();
      }
      if (!more || switched) return;
      given =
        wantsArchiveAfter === undefined
          ? undefined
          : { after: wantsArchiveAfter, archive: await nextArchive(db, o.archive, wantsArchiveAfter) };
    }
  }

  /** Begins the first generation, and that of a new version of the code; throws away those that are no longer read. */
  async function tend(projection: Projection<Event>): Promise<void> {
    const { name, codeVersion } = projection;
    const rows = await generations(db, name);
    for (const { state, generation } of rows) {
      if (state !== 'retired') continue;
      while (!stopping && (await projection.discard(db, generation, DISCARD)) > 0);
      if (!stopping) await dropGeneration(db, name, generation);
    }
    if (isNeeded(rows, codeVersion)) await beginBuilding(o.database, name, codeVersion, { asked: false });
  }

  /** Rows of other code are left alone by this one. After an update, or after one was taken back, nobody else may be there to follow. */
  async function refuseNeglect({ name, codeVersion }: Projection<Event>): Promise<void> {
    const live = (await generations(db, name)).find(({ state }) => state === 'live');
    if (live && live.code_version !== codeVersion && (await isNeglected(o.database, name, live.generation)))
      throw new NeglectedProjectionError(name, live.code_version, codeVersion);
  }

  async function catchUp(projection: Projection<Event>, lane: Lane): Promise<void> {
    try {
      if (lane === 'building') await tend(projection);
      const own = (await generations(db, projection.name)).find(
        (row) => row.state === lane && row.code_version === projection.codeVersion,
      );
      if (own) await work(projection, own.generation);
      else if (lane === 'live') await refuseNeglect(projection);
      report.ok(projection.name, lane);
    } catch (err) {
      report.failed(projection.name, lane, err, isTransientDbError(err));
      throw err;
    }
  }

  /** What is read is kept up to date whatever is being built beside it, and whichever other cannot be. */
  async function run(lane: Lane): Promise<void> {
    const pausedUntil = new Map<string, number>();
    while (!stopping) {
      for (const projection of o.projections) {
        if (performance.now() < (pausedUntil.get(projection.name) ?? 0)) continue;
        await catchUp(projection, lane).catch(() => {
          pausedUntil.set(projection.name, performance.now() + FAILED_PAUSE_MS);
        });
      }
      if (!stopping) await wakes[lane].sleep(o.pollMs ?? 250);
      if (!stopping) await new Promise((resolve) => setTimeout(resolve, APART_MS));
    }
  }

  return {
    name: 'projector',
    appended() {
      appendedAt = performance.now();
    },
    names,
    async rebuild(name) {
      const projection = o.projections.find((candidate) => candidate.name === name);
      if (!projection) throw new UnknownProjectionError(name, names);
      const begun = await beginBuilding(o.database, name, projection.codeVersion, { asked: true });
      wakes.building.up();
      return begun;
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
