import type { Database } from '@sidecart/kit/db';
import type { Logger } from '@sidecart/kit/log';
import type { Worker } from '@sidecart/kit/service';
import { runPrepared } from '@sidecart/messaging/prepared';
import type { AnyAggregate } from './aggregate.ts';
import { checksumOf, loadStream } from './load.ts';
import { survivesJson } from './plain.ts';

export interface Snapshots extends Worker {
  /** A stream has become long since its snapshot. Its transaction need not have committed. */
  offer(streamId: string): void;
}

/** Streams that wait for a snapshot at most. One that is left out is offered again by its next event. */
const WAITING = 1000;
/** So long after the offer, in ms: its transaction has most likely committed. */
const AFTER_MS = 50;

const WRITE = `
  INSERT INTO snapshots AS s (stream_id, schema_version, version, state, checksum)
  VALUES ($1::text, $2::int, $3::bigint, $4::text::json, $5::text)
  ON CONFLICT (stream_id, schema_version) DO UPDATE
  SET version = excluded.version, state = excluded.state, checksum = excluded.checksum, taken_at = clock_timestamp()
  WHERE excluded.version >= s.version OR s.version > (SELECT version FROM streams WHERE stream_id = s.stream_id)`;

/** Writes snapshots of the streams offered, one after the other, beside the requests and never in their transactions. */
export function createSnapshots(o: {
  database: Database;
  aggregate: AnyAggregate;
  /** Events after the last snapshot. */
  every: number;
  log: Logger;
}): Snapshots {
  const waiting = new Set<string>();
  let work: Promise<void> | undefined;
  let started = false;
  let stopping = false;

  async function take(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, AFTER_MS));
    for (const streamId of waiting) {
      if (stopping) return;
      waiting.delete(streamId);
      try {
        await writeSnapshot(o, streamId);
      } catch (err) {
        o.log.warn(
          { err, stream: streamId },
          'A snapshot could not be written; the next event asks for it again',
        );
      }
    }
  }

  return {
    name: `snapshots of ${o.aggregate.type}`,
    offer(streamId) {
      if (!started || stopping || waiting.size >= WAITING) return;
      waiting.add(streamId);
      work ??= take().finally(() => {
        work = undefined;
      });
    },
    start() {
      started = true;
    },
    async stop() {
      stopping = true;
      await work;
    },
  };
}

/**
 * Writes the snapshot of a stream, if it has become that long since its last one.
 *
 * @throws TypeError for a state that would not come back from it as it is.
 */
export async function writeSnapshot(
  o: { database: Database; aggregate: AnyAggregate; every: number },
  streamId: string,
): Promise<boolean> {
  const { db } = o.database;
  const { state, version, snapshotVersion } = await loadStream(db, o.aggregate, streamId);
  if (version - snapshotVersion < o.every) return false;
  if (!survivesJson(state))
    throw new TypeError(
      `The state of ${o.aggregate.type} is more than JSON can say, and would be another one`,
    );
  const text = JSON.stringify(state);
  const params = [streamId, o.aggregate.state.version, String(version), text, checksumOf(text)];
  const { count } = await runPrepared(db, 'write_snapshot', WRITE, params);
  return count > 0;
}
