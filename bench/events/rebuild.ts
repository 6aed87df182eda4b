import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import type { RebuildArm } from './arm.ts';
import { BARE_LOOP, type CellJob, OWN, PEER } from './cell.ts';
import { emmettRebuilds } from './emmett.ts';
import { checkEvents } from './event-ledger.ts';
import { fill } from './layout.ts';
import { ownRebuilds } from './own.ts';
import { bareLoop, rawClient } from './raw.ts';
import { checkView, LIVE, VIEW, VIEW_TABLE, viewBySql } from './read-model.ts';

const ARMS: Record<string, RebuildArm> = {
  [OWN]: ownRebuilds,
  [PEER]: emmettRebuilds,
  [BARE_LOOP]: bareLoop,
};

/** Like orders: short streams, many of them under way at once. */
const LENGTH = 10;
const TOGETHER = 1000;

/** A read model of all events made anew, beside the one that is there. */
export async function benchRebuild(
  job: Extract<CellJob, { kind: 'rebuild' }>,
  mark: Mark,
): Promise<CellOutcome> {
  const arm = ARMS[job.arm];
  if (!arm) throw new Error(`there is no arm ${job.arm}`);
  await arm.layout.prepare(job.url);
  const sql = rawClient(job.url, 1);
  await sql.unsafe(VIEW_TABLE);
  await fill(sql, arm.layout, { events: job.events, length: LENGTH, together: TOGETHER });
  await sql.unsafe(`INSERT INTO ${VIEW} ${viewBySql(arm.layout, LIVE)}`);
  await sql.unsafe('CHECKPOINT');
  const opened = await arm.open(job);
  await mark('begin');
  const from = now();
  await opened.rebuild();
  const seconds = (now() - from) / 1000;
  await mark('end');
  await opened.close();
  const faults = [...(await checkEvents(sql, arm.layout, job.events)), ...(await checkView(sql, arm.layout))];
  await sql.end();
  return { count: job.events, seconds, faults };
}
