import type { Database } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import { LINE, type Packed, pack } from './archive.ts';
import type { CondenseDeps } from './condense.ts';
import { refuseCondensing } from './condense-refusals.ts';
import { ArchiveUnavailableError, CondenseRefusedError } from './errors.ts';
import { streamHead } from './history.ts';
import type { EventRow } from './load.ts';
import { byIndex } from './reader.ts';
import { createReplay } from './replay.ts';

/** What is to take the place of what. */
export interface Plan {
  streamId: string;
  fromVersion: number;
  toVersion: number;
  /** Without aggregate events. */
  events: number;
  /** With them. */
  rows: number;
  state: unknown;
  packed: Packed;
  location: string | undefined;
}

interface Line extends EventRow {
  line: string;
}

/** Rows at a time. What is done with so many at once holds up everybody else in the process for some milliseconds. */
const PAGE = 500;

/**
 * Reads, replays and packs a stream page by page, and puts the archive away. Nothing is locked meanwhile, and nothing is changed in
 * the database: whether the rows are still these ones is seen when they are deleted. What is refused already costs two questions; an
 * archive that was put away for one that is refused later stays, as somebody else may have come to need it under the same name.
 *
 * @throws CondenseRefusedError, ArchiveUnavailableError.
 */
export async function planCondensing(
  o: CondenseDeps,
  streamId: string,
  upTo: number | undefined,
): Promise<Plan> {
  const head = await streamHead(o.database, streamId);
  if (head?.type !== o.aggregate.type)
    throw new CondenseRefusedError(
      'no_stream',
      head
        ? `Stream ${streamId} is of ${head.type}, not of ${o.aggregate.type}`
        : `There is no stream ${streamId}`,
    );
  const { version: last } = head;
  const toVersion = upTo ?? last;
  await refuseCondensing(o.database.db, o, streamId, toVersion);
  const replay = createReplay(o.aggregate, streamId, toVersion);
  const versions: number[] = [];
  let events = 0;
  async function* oldLines() {
    for await (const page of pagesOf(o.database, streamId, last)) {
      refuseUnknown(o.aggregate, streamId, page);
      replay.add(page);
      const old = page.filter(({ version }) => version <= toVersion);
      versions.push(...old.map(({ version }) => version));
      events += old.filter(({ type }) => type !== CONDENSED).length;
      yield old.map(({ line }) => line);
    }
  }
  const packed = await pack(oldLines());
  const [fromVersion] = versions;
  if (fromVersion === undefined || versions.length < 2 || versions.at(-1) !== toVersion)
    throw new CondenseRefusedError(
      'nothing_to_condense',
      `Stream ${streamId} has no two events up to version ${toVersion}; its last is ${last}`,
    );
  const state = replay.stateToKeep();
  const name = `${streamId}/${fromVersion}-${toVersion}-${packed.checksum.slice(0, 16)}`;
  const location = await o.archive.put(name, packed.content).catch((err: unknown) => {
    if (err instanceof CondenseRefusedError) throw err;
    throw new ArchiveUnavailableError(streamId, 'put', err);
  });
  return { streamId, fromVersion, toVersion, events, rows: versions.length, state, packed, location };
}

export const NEXT_PAGE = `
  SELECT version::float8 AS version, type, schema_version, data, ${LINE} AS line FROM events
  WHERE stream_id = $1::text AND version > $2::text::bigint AND version <= $3::text::bigint
  ORDER BY events.version LIMIT ${PAGE}`;

/**
 * The rows of a stream in their order. Who appends meanwhile is not waited for. By index, as PostgreSQL would sort the whole stream for
 * each page while it has no statistics.
 */
async function* pagesOf({ db }: Database, streamId: string, head: number): AsyncGenerator<Line[]> {
  for (let after = 0; after < head; ) {
    const params = [streamId, String(after), String(head)];
    const page: Line[] = await db.transaction((tx) =>
      byIndex(tx, () => runPrepared<Line>(tx, 'condense_read', NEXT_PAGE, params)),
    );
    if (page.length > 0) yield page;
    after = page.length < PAGE ? head : (page.at(-1)?.version ?? head);
  }
}

/** Code that knows less than what is stored would leave a part of it out for ever: older code after an update. */
function refuseUnknown(aggregate: AnyAggregate, streamId: string, page: readonly Line[]): void {
  const unknown = page.find(({ type }) => type !== CONDENSED && !Object.hasOwn(aggregate.events, type));
  if (unknown)
    throw new CondenseRefusedError(
      'unknown_shape',
      `Event ${unknown.version} of ${streamId} is ${unknown.type}, which this code does not know: run the code that wrote it, or newer`,
    );
}
