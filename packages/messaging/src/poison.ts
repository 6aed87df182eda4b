import type { Database, Executor } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import type { Logger } from '@sidecart/kit/log';
import { sql } from 'drizzle-orm';
import { rootMessage } from './failures.ts';
import { type Repetition, repeat } from './repeat.ts';
import { createTurns } from './turns.ts';

/**
 * Notices messages in whose handling the process dies. Starts and finishes are counted per message, but only for a while after a
 * process of this service ended without saying so: each count is a statement of its own that has to be on the disk before the handler runs,
 * and who never dies shall not pay for it. So a poisonous message costs one death more than it is given, if starts are not counted yet.
 *
 * A message that was at work when a process died is handled alone in its process until it ends: were it beside others, each death would
 * count against all of them, and those that were only near would be set aside with the one that kills.
 */
export interface PoisonGuard {
  /**
   * Waits for its turn, and counts the start.
   * @throws HandlerTimeoutError when it has no turn within `ms`.
   */
  begin(topic: string, eventId: string, ms: number): Promise<Begun>;
  /** Whether starts are counted now. */
  watching(): boolean;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface Begun {
  /** How often the handling of this message has begun and not ended, this time included; 0 when nobody counts. */
  starts: number;
  /** The others need not wait any longer. */
  leave(): void;
  /** The handling has ended, one way or another. `keepCount`: the message was not handled, as it has killed too often. */
  end(o?: { keepCount: boolean }): Promise<void>;
}

const UNCOUNTED: Begun = { starts: 0, leave() {}, async end() {} };
/** Of the whole process: whatever handles messages in it dies with it. */
const turns = createTurns();

const BEAT_MS = 5000;
/** A process that was silent for so long is dead, or as good as. */
const SILENT = '15 seconds';
/** For so long after a death starts are counted. */
const WATCH = '10 minutes';

export function createPoisonGuard(o: { database: Database; log: Logger }): PoisonGuard {
  const { db, applicationName } = o.database;
  const id = uuidv7();
  /** How many handlings of a message are under way here. One that outlasts its time, and comes again beside itself, has killed nobody yet. */
  const underWay = new Map<string, number>();
  let watching = false;
  let beating: Repetition | undefined;

  /** At the first beat a run under our own name is that of the process before this one. */
  async function beat(first: boolean): Promise<void> {
    const dead = await db.execute(sql`
      UPDATE consumer_run SET found_dead_at = clock_timestamp()
      WHERE id <> ${id} AND found_dead_at IS NULL
        AND (beat_at < clock_timestamp() - ${SILENT}::interval OR (${first} AND instance = ${applicationName}))`);
    await db.execute(sql`
      INSERT INTO consumer_run (id, instance) VALUES (${id}, ${applicationName})
      ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp(), found_dead_at = NULL`);
    const [found] = await db.execute<{ watch: boolean }>(sql`
      SELECT EXISTS (SELECT FROM consumer_run WHERE found_dead_at > clock_timestamp() - ${WATCH}::interval) AS watch`);
    if (dead.count > 0)
      o.log.warn(
        'A process of this service ended without a word; starts of handlings are counted for a while',
      );
    watching = found?.watch ?? false;
    if (!watching) {
      await db.execute(sql`DELETE FROM consumer_run WHERE found_dead_at IS NOT NULL`);
      await db.execute(
        sql`DELETE FROM inbox_start WHERE started_at < clock_timestamp() - ${WATCH}::interval`,
      );
    }
  }

  /** How many others of the message there are. */
  function entered(name: string): number {
    const others = underWay.get(name) ?? 0;
    underWay.set(name, others + 1);
    return others;
  }

  function left(name: string): number {
    const others = (underWay.get(name) ?? 1) - 1;
    if (others > 0) underWay.set(name, others);
    else underWay.delete(name);
    return others;
  }

  /** One that is not taken back counts as a death too many; five of them have to come together. */
  async function takeBack(topic: string, eventId: string): Promise<void> {
    await forgetDeaths(db, topic, eventId).catch((err: unknown) =>
      o.log.warn({ reason: rootMessage(err) }, 'An end could not be noted'),
    );
  }

  return {
    async begin(topic, eventId, ms) {
      if (!watching) return UNCOUNTED;
      const [before] = await db.execute(
        sql`SELECT FROM inbox_start WHERE topic = ${topic} AND event_id = ${eventId}`,
      );
      // Counted only now: who waits cannot have killed.
      const leave = await turns.take(before !== undefined, ms);
      const name = JSON.stringify([topic, eventId]);
      const more = entered(name) > 0 ? 0 : 1;
      try {
        const [row] = await db.execute<{ starts: number }>(sql`
          INSERT INTO inbox_start AS s (topic, event_id, starts) VALUES (${topic}, ${eventId}, 1)
          ON CONFLICT (topic, event_id) DO UPDATE SET starts = s.starts + ${more}::int, started_at = now() RETURNING starts`);
        return {
          starts: row?.starts ?? 0,
          leave,
          async end({ keepCount } = { keepCount: false }) {
            const others = left(name);
            if (others === 0 && !keepCount) await takeBack(topic, eventId);
            leave();
          },
        };
      } catch (err) {
        left(name);
        leave();
        throw err;
      }
    },
    watching: () => watching,
    async start() {
      const warn = (err: unknown) =>
        o.log.warn({ reason: rootMessage(err) }, 'This process could not be noted as running');
      await beat(true).catch(warn);
      beating = repeat(BEAT_MS, () => beat(false), warn);
    },
    async stop() {
      await beating?.stop();
      // They kill nobody any more: this process ends in order.
      const left = [...underWay.keys()].map((name) => JSON.parse(name) as [string, string]);
      await db
        .execute(
          sql`UPDATE inbox_start s SET starts = starts - 1
            FROM json_array_elements(${JSON.stringify(left)}::text::json) AS l
            WHERE s.topic = l ->> 0 AND s.event_id = l ->> 1 AND starts > 0`,
        )
        .catch(() => {});
      await db.execute(sql`DELETE FROM consumer_run WHERE id = ${id}`).catch(() => {});
    },
  };
}

/** What it did before counts no more: somebody has decided that it is to be handled. */
export async function forgetDeaths(db: Executor, topic: string, eventId: string): Promise<void> {
  await db.execute(sql`DELETE FROM inbox_start WHERE topic = ${topic} AND event_id = ${eventId}`);
}
