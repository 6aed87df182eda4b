import { isTransientDbError } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type CondenseDeps, condenseStream, type Decision } from './condense.ts';
import { type CondenseRefusal, CondenseRefusedError, UnknownShapeError } from './errors.ts';
import { loadStream } from './load.ts';

/** Which streams are to be condensed. */
export interface Policy {
  /** The last event is at least so old, in ms, by the database's clock. */
  ageMs: number;
  /** So many events since it was last condensed, at least; two are the fewest that one can take the place of. */
  events: number;
  /** Only those of which the aggregate says that nothing more will happen; default true. */
  closed?: boolean;
}

/** What came of a part of the streams, or of all. */
export interface PolicyOutcome {
  /** Streams. */
  condensed: number;
  /** That gave way. */
  events: number;
  /** Old and long enough, but not closed. */
  open: number;
  /** By the code of the refusal; `busy`: the database had no time for it. */
  refused: Partial<Record<CondenseRefusal | 'busy', { streams: number; example: string }>>;
}

/** Streams looked at in one page; those that are condensed take some milliseconds each, or more where the archive is far away. */
const PAGE = 500;
/** A page ends early after so long, in ms: whoever asked for it does not wait for ever. */
const PAGE_MS = 20_000;

/** Condenses what the policy says, stream by stream, and goes on at what is refused. */
export async function condenseByPolicy(
  o: CondenseDeps,
  policy: Policy,
  decision: Decision,
  /** Told after each page. */
  onPage?: (all: PolicyOutcome) => void,
): Promise<PolicyOutcome> {
  const all = nothingYet();
  for (let after: string | null = ''; after !== null; ) {
    const { next, ...page } = await condensePage(o, policy, decision, after);
    addOutcome(all, page);
    onPage?.(all);
    after = next;
  }
  return all;
}

/**
 * The streams after the one named: a few hundred, or as many as there is time for, so that whoever asks hears of it before long. `next`
 * is where to go on; null: that was the last.
 *
 * @throws CondenseRefusedError `closed_unknown` when only closed ones are wanted of an aggregate that does not tell.
 * @throws ArchiveUnavailableError when the archive takes nothing; it would be the same with the next stream.
 */
export async function condensePage(
  o: CondenseDeps,
  policy: Policy,
  decision: Decision,
  after: string,
  forMs = PAGE_MS,
): Promise<PolicyOutcome & { next: string | null }> {
  const wantsClosed = policy.closed ?? true;
  if (wantsClosed && !o.aggregate.isClosed)
    throw new CondenseRefusedError(
      'closed_unknown',
      `${o.aggregate.type} does not say when it is closed: give it isClosed, or take open ones too`,
    );
  const { ids, next } = await candidates(o, policy, after);
  const outcome = nothingYet();
  const until = performance.now() + forMs;
  for (const id of ids) {
    try {
      if (wantsClosed && !(await isClosed(o, id))) outcome.open++;
      else {
        const { events } = await condenseStream(o, id, decision);
        outcome.condensed++;
        outcome.events += events;
      }
    } catch (err) {
      addRefusal(outcome, refusalOf(err), { streams: 1, example: id });
    }
    if (performance.now() >= until && id !== ids.at(-1)) return { ...outcome, next: id };
  }
  return { ...outcome, next };
}

async function candidates(
  o: CondenseDeps,
  policy: Policy,
  after: string,
): Promise<{ ids: string[]; next: string | null }> {
  const rows = await runPrepared<{ id: string; fits: boolean }>(
    o.database.db,
    'condense_candidates',
    `SELECT stream_id AS id, type = $2::text AND version - condensed_version >= $3::int
       AND last_at <= clock_timestamp() - $4::float8 * interval '1 millisecond' AS fits
     FROM streams WHERE stream_id > $1::text ORDER BY stream_id LIMIT ${PAGE}`,
    [after, o.aggregate.type, Math.max(2, policy.events), policy.ageMs],
  );
  const last = rows.at(-1);
  return {
    ids: rows.filter(({ fits }) => fits).map(({ id }) => id),
    next: rows.length === PAGE && last ? last.id : null,
  };
}

async function isClosed({ database, aggregate }: CondenseDeps, streamId: string): Promise<boolean> {
  const { state } = await loadStream(database.db, aggregate, streamId);
  return aggregate.isClosed?.(state) ?? false;
}

function refusalOf(err: unknown): CondenseRefusal | 'busy' {
  if (err instanceof CondenseRefusedError) return err.code;
  if (err instanceof UnknownShapeError) return err.code;
  if (isTransientDbError(err)) return 'busy';
  throw err;
}

export function nothingYet(): PolicyOutcome {
  return { condensed: 0, events: 0, open: 0, refused: {} };
}

/** Adds what came of a page to what came of those before. */
export function addOutcome(all: PolicyOutcome, page: PolicyOutcome): void {
  all.condensed += page.condensed;
  all.events += page.events;
  all.open += page.open;
  for (const [code, refused] of Object.entries(page.refused))
    addRefusal(all, code as CondenseRefusal, refused);
}

function addRefusal(
  { refused }: PolicyOutcome,
  code: CondenseRefusal | 'busy',
  { streams, example }: { streams: number; example: string },
): void {
  const known = refused[code];
  if (known) known.streams += streams;
  else refused[code] = { streams, example };
}
