import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { shares, warmMs } from '../cells/cell-child.ts';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import type { OpenArm } from './arm.ts';
import { ARMS } from './arms.ts';
import { BUSINESS_TABLE } from './business.ts';
import { BATCH, BESIDE, type CellJob, SOAK_PARTS, WRITERS } from './cell.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { OWN } from './plan.ts';
import { createWriting, LONG_KEY, type Writing } from './writers.ts';

type Job<K extends CellJob['kind']> = Extract<CellJob, { kind: K }>;

/** Written and not handled at most: enough that no arm ever waits for the writers. */
const WINDOW = { single: 500, batch: 2000 };
/** How long an arm may take to handle what is left; what it has not by then has to be in its tables. */
const DRAIN_MS = 8000;
/** Longer than any arm's poll. */
const STILL_MS = 5000;

interface Opened {
  arm: OpenArm;
  ledger: Ledger;
  writing: Writing;
}

async function open(
  job: { arm: string; url: string },
  o: { ordered: boolean; perTransaction: number; failing?: string },
): Promise<Opened> {
  const kind = ARMS[job.arm];
  if (!kind) throw new Error(`there is no arm ${job.arm}`);
  await execute(job.url, BUSINESS_TABLE);
  await kind.prepare(job.url, o);
  const ledger = createLedger(o);
  const arm = await kind.open({
    ...o,
    url: job.url,
    writers: WRITERS,
    handled(message) {
      if (message.key === o.failing) throw new Error(`${message.key} fails`);
      ledger.handled(message, now());
    },
  });
  return { arm, ledger, writing: createWriting({ ...o, ledger, write: arm.write }) };
}

export async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(statement);
  await client.end();
}

/** Writers and handling at the same time, both as fast as they can. */
export async function race(job: Job<'race'>, mark: Mark): Promise<CellOutcome> {
  const { arm, ledger, writing } = await open(job, job);
  await arm.start();
  const stop = new AbortController();
  const window = job.perTransaction > 1 ? WINDOW.batch : WINDOW.single;
  const writers = writing.closedLoop({ writers: WRITERS, window, stop: stop.signal });
  const { from, until, count } = await handledMeanwhile({ ms: job.ms, ledger, writers, stop, mark });
  return {
    count,
    seconds: (until - from) / 1000,
    ...(await finish({ arm, ledger, writing })),
  };
}

/** What is handled in that time, once it is warm; then the writers stop. */
async function handledMeanwhile(o: {
  ms: number;
  ledger: Ledger;
  writers: Promise<unknown>;
  stop: AbortController;
  mark: Mark;
}): Promise<{ from: number; until: number; count: number }> {
  await Promise.race([sleep(warmMs(o.ms)), o.writers]);
  await o.mark('begin');
  const [from, before] = [now(), o.ledger.handledCount()];
  await Promise.race([sleep(o.ms), o.writers]);
  const [until, after] = [now(), o.ledger.handledCount()];
  await o.mark('end');
  o.stop.abort();
  await o.writers;
  return { from, until, count: after - before };
}

/** So many messages committed before anything handles them. */
export async function drainBacklog(job: Job<'backlog'>, mark: Mark): Promise<CellOutcome> {
  const opened = await open(job, { ordered: false, perTransaction: BATCH });
  const { arm, ledger, writing } = opened;
  // One writer: several would wait for each other's keys for longer than a statement may.
  while (ledger.committedCount() < job.rows) await writing.transaction();
  await mark('begin');
  const from = now();
  await arm.start();
  await allHandled(ledger);
  const seconds = (now() - from) / 1000;
  await mark('end');
  return { count: ledger.handledCount(), seconds, ...(await finish(opened)) };
}

/**
 * Handling from an empty start: so many messages become visible with one commit, again and again. Only handling is timed;
 * the meters are not read, as they cannot tell it from the writing.
 */
export async function benchBursts(job: Job<'bursts'>): Promise<CellOutcome> {
  const opened = await open(job, { ordered: false, perTransaction: job.rows });
  const { arm, ledger, writing } = opened;
  await arm.start();
  await writing.transaction();
  await allHandled(ledger);
  const before = ledger.handledCount();
  let handlingMs = 0;
  const endAt = now() + job.ms;
  while (now() < endAt) {
    await writing.transaction();
    const from = now();
    await allHandled(ledger);
    handlingMs += now() - from;
  }
  const count = ledger.handledCount() - before;
  return { count, seconds: handlingMs / 1000, ...(await finish(opened)) };
}

/** A steady load for a long time. */
export async function soak(job: Job<'soak'>, mark: Mark): Promise<CellOutcome> {
  const opened = await open(job, { ordered: true, perTransaction: 1 });
  const { arm, ledger, writing } = opened;
  await arm.start();
  const stop = new AbortController();
  const writers = writing.paced({ perSecond: job.perSecond, stop: stop.signal });
  const { from, until, count } = await handledMeanwhile({ ms: job.ms, ledger, writers, stop, mark });
  const rest = await finish(opened);
  const partMs = (until - from) / SOAK_PARTS;
  const parts = Array.from({ length: SOAK_PARTS }, (_, part) => {
    const bounds = [from + part * partMs, from + (part + 1) * partMs] as const;
    return {
      ...shares(ledger.latencies(...bounds)),
      count: ledger.handledBetween(...bounds),
      pause: ledger.longestPause(...bounds),
    };
  });
  const latencies = shares(ledger.latencies(from, until));
  return { count, seconds: (until - from) / 1000, latencies, parts, ...rest };
}

/** A steady load of many keys, and beside it one key that has had a great many messages from the start. */
export async function beside(job: Job<'beside'>, mark: Mark): Promise<CellOutcome> {
  const [nothing, , failing] = BESIDE;
  const opened = await open(
    { arm: OWN, url: job.url },
    { ordered: true, perTransaction: 1, ...(job.arm === failing && { failing: LONG_KEY }) },
  );
  const { arm, ledger, writing } = opened;
  if (job.arm !== nothing) await writing.longKey(job.rows);
  await arm.start();
  const stop = new AbortController();
  const writers = writing.paced({ perSecond: job.perSecond, stop: stop.signal });
  const { from, until, count } = await handledMeanwhile({ ms: job.ms, ledger, writers, stop, mark });
  const rest = await finish(opened, () => ledger.unhandled(from, until) === 0);
  return { count, seconds: (until - from) / 1000, latencies: shares(ledger.latencies(from, until)), ...rest };
}

async function allHandled(ledger: Ledger): Promise<void> {
  while (ledger.outstanding() > 0) await sleep(1);
}

/** Ends the handling. Slow is no fault, standing still is one: what is left then will never be handled. */
async function finish(
  { arm, ledger }: Opened,
  isDone = () => ledger.outstanding() === 0,
): Promise<Pick<CellOutcome, 'faults' | 'left'>> {
  const until = now() + DRAIN_MS;
  let progress = { count: ledger.handledCount(), at: now() };
  while (!isDone() && now() < until) {
    await sleep(10);
    if (ledger.handledCount() !== progress.count) progress = { count: ledger.handledCount(), at: now() };
  }
  const stoodStill = !isDone() && now() - progress.at > STILL_MS;
  await arm.stop();
  const left = await arm.waiting();
  await arm.close();
  const faults = ledger.verdict(left);
  if (stoodStill) faults.push(`${left} messages were left for ${STILL_MS / 1000} s with nothing else to do`);
  return { faults, ...(left > 0 && { left }) };
}
