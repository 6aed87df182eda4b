import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip, gunzip } from 'node:zlib';
import type { Executor } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { CONDENSED } from './aggregate.ts';
import { ArchiveUnavailableError, CondenseRefusedError } from './errors.ts';
import type { PositionedRow } from './reader.ts';

const decompress = promisify(gunzip);

/** Where archived events are kept: in the table itself, or elsewhere under a name. */
export interface ArchiveStore {
  /**
   * Keeps the content and gives the name under which it is found; undefined: nothing was done, it is to be kept in the table. It has
   * been kept for good when this returns. Keeping the same twice is harmless.
   */
  put(name: string, content: Buffer): Promise<string | undefined>;
  get(location: string): Promise<Buffer>;
}

/** Keeps archives in the service's own database. */
export const tableArchive: ArchiveStore = {
  put: async () => undefined,
  get: (location) => Promise.reject(new Error(`This service keeps no archive elsewhere, as at ${location}`)),
};

/**
 * A row of `events` as a line of JSON, written by PostgreSQL and read back by it, so that nothing of it goes through a number of
 * JavaScript. Without `xid`: a restored event is one that every read model has done.
 */
export const LINE = `json_build_object('stream_id', stream_id, 'version', version, 'pos', pos::text, 'event_id', event_id,
  'type', type, 'schema_version', schema_version, 'data', data, 'meta', meta,
  'at_us', (extract(epoch FROM at) * 1000000)::bigint::text)::text`;

/** The checksum of lines, as an aggregate over rows that have `line` and `version`. */
export const LINES_CHECKSUM = `encode(sha256(convert_to(coalesce(string_agg(line || E'\\n', '' ORDER BY version), ''), 'UTF8')), 'hex')`;

export interface Packed {
  content: Buffer;
  checksum: string;
}

/** The lines of whole rows: what the checksum is of. PostgreSQL writes a jsonb in one way only, so rows that came back give the same. */
export function checksumOfLines(lines: readonly string[]): string {
  const hash = createHash('sha256');
  for (const line of lines) hash.update(line).update('\n');
  return hash.digest('hex');
}

/** Some lines at a time, so that a long history neither holds up the process nor is in memory as a whole. */
export async function pack(
  parts: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
): Promise<Packed> {
  const hash = createHash('sha256');
  async function* texts() {
    for await (const lines of parts) {
      const text = lines.map((line) => `${line}\n`).join('');
      hash.update(text);
      yield text;
    }
  }
  const content = await pipeline(texts, createGzip(), buffer);
  return { content, checksum: hash.digest('hex') };
}

/** @throws CondenseRefusedError `archive_damaged` when it is not what was put in. */
export async function unpack({ content, checksum }: Packed): Promise<string[]> {
  const lines = await decompress(content)
    .then((text) => text.toString().split('\n').slice(0, -1))
    .catch(() => undefined);
  if (!lines || checksumOfLines(lines) !== checksum)
    throw new CondenseRefusedError(
      'archive_damaged',
      'The archive is not what was put into it: bring it back from a backup',
    );
  return lines;
}

export interface ArchiveRow {
  id: string;
  stream_id: string;
  from_version: number;
  to_version: number;
  content: Buffer | null;
  location: string | null;
  checksum: string;
}

export const ARCHIVE_COLUMNS = `id::text AS id, stream_id, from_version::float8 AS from_version, to_version::float8 AS to_version,
  content, location, checksum`;

/**
 * The lines of an archive.
 *
 * @throws ArchiveUnavailableError when it is kept elsewhere and cannot be fetched.
 * @throws CondenseRefusedError `archive_damaged`.
 */
export async function linesOf(store: ArchiveStore, row: ArchiveRow): Promise<string[]> {
  const { content, location, checksum } = row;
  if (content) return unpack({ content, checksum });
  const fetched = await store.get(location ?? '').catch((err: unknown) => {
    throw new ArchiveUnavailableError(row.stream_id, 'get', err);
  });
  return unpack({ content: fetched, checksum });
}

/** The archives in force of a stream, oldest first. */
export function archivesOf(db: Executor, streamId: string): Promise<ArchiveRow[]> {
  return runPrepared<ArchiveRow>(
    db,
    'archives_of',
    `SELECT ${ARCHIVE_COLUMNS} FROM events_archive WHERE stream_id = $1::text AND restored_at IS NULL ORDER BY events_archive.id`,
    [streamId],
  );
}

/** An archive as a reader of projections gets it: aggregate events are left out. */
export interface Archived {
  id: string;
  rows: PositionedRow[];
}

/** The next archive in force. */
export async function nextArchive(
  db: Executor,
  store: ArchiveStore,
  after: string,
): Promise<Archived | undefined> {
  const [row] = await runPrepared<ArchiveRow>(
    db,
    'archive_next',
    `SELECT ${ARCHIVE_COLUMNS} FROM events_archive WHERE events_archive.id > $1::text::bigint AND restored_at IS NULL
     ORDER BY events_archive.id LIMIT 1`,
    [after],
  );
  if (!row) return undefined;
  const rows = (await linesOf(store, row)).map(positioned).filter(({ type }) => type !== CONDENSED);
  return { id: row.id, rows };
}

/** A line as a row that a reader knows. */
export function positioned(line: string): PositionedRow {
  const { at_us, ...row } = JSON.parse(line) as Omit<PositionedRow, 'at'> & { at_us: string };
  return { ...row, at: Number(at_us) / 1000 };
}
