import { createHash } from 'node:crypto';
import type postgres from 'postgres';
import { shares, warmMs } from '../cells/cell-child.ts';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { type Account, evolveAccount, initialAccount, penceOf, STREAM_TYPE } from './account.ts';
import type { LoadArm } from './arm.ts';
import { behind } from './behind.ts';
import { type CellJob, OWN, PEER, RAW } from './cell.ts';
import { emmettLoads } from './emmett.ts';
import { fill } from './layout.ts';
import { ownLoads } from './own.ts';
import { rawClient, rawLoads } from './raw.ts';

const ARMS: Record<string, LoadArm> = { [OWN]: ownLoads, [PEER]: emmettLoads, [RAW]: rawLoads };

/** Events of all streams, so that no cell loads the same few rows again and again. */
const EVENTS = 30_000;

/** Loads one stream after the other, one at a time. */
export async function benchLoad(job: Extract<CellJob, { kind: 'load' }>, mark: Mark): Promise<CellOutcome> {
  const arm = ARMS[job.arm];
  if (!arm) throw new Error(`there is no arm ${job.arm}`);
  await arm.layout.prepare(job.url);
  const streams = Math.ceil(EVENTS / job.length);
  const sql = rawClient(job.url, 1);
  await fill(sql, arm.layout, { events: streams * job.length, length: job.length, together: streams });
  const wanted = Array.from({ length: streams }, (_, stream) => stateOf(stream, streams, job.length));
  if (job.snapshot) await takeSnapshots(sql, streams, job.length);
  await sql.end();

  const loader = await arm.open(job);
  let [turn, wrong] = [0, 0];
  let samples: number[] = [];
  const forMs = async (ms: number) => {
    const from = now();
    while (now() - from < ms) {
      const stream = turn % streams;
      turn += 1;
      const begunAt = now();
      const { state, version } = await loader.load(`${STREAM_TYPE}-${stream}`);
      samples.push(now() - begunAt);
      if (version !== job.length || !isSame(state, wanted[stream])) wrong += 1;
    }
    return (now() - from) / 1000;
  };
  await forMs(warmMs(job.ms));
  samples = [];
  await mark('begin');
  const seconds = await forMs(job.ms);
  await mark('end');
  await loader.close();
  const faults = wrong > 0 ? [`${wrong} loads gave another state than the events make`] : [];
  return { count: samples.length, seconds, latencies: shares(samples), faults };
}

const isSame = (a: Account, b: Account | undefined) =>
  a.events === b?.events && a.pence === b.pence && a.trail === b.trail;

/** Of a stream after so many of its events, whose numbers are `streams` apart. */
function stateOf(stream: number, streams: number, events: number): Account {
  let state = initialAccount();
  for (let i = 0; i < events; i += 1) state = evolveAccount(state, { pence: penceOf(stream + i * streams) });
  return state;
}

async function takeSnapshots(sql: postgres.Sql, streams: number, length: number): Promise<void> {
  const rows = Array.from({ length: streams }, (_, stream) => {
    const version = length - behind(stream, length);
    const state = JSON.stringify(stateOf(stream, streams, version));
    const checksum = createHash('sha256').update(state).digest('hex');
    return { stream_id: `${STREAM_TYPE}-${stream}`, version, state, checksum };
  });
  await sql.unsafe(
    `INSERT INTO snapshots (stream_id, schema_version, version, state, checksum)
     SELECT stream_id, 1, version, state::json, checksum
     FROM json_to_recordset($1::text::json) AS s (stream_id text, version bigint, state text, checksum text)`,
    [JSON.stringify(rows)],
  );
  await sql.unsafe('VACUUM ANALYZE snapshots');
}
