import { shares, warmMs } from '../cells/cell-child.ts';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { deposited, STREAM_TYPE } from './account.ts';
import type { AppendArm } from './arm.ts';
import { type CellJob, OWN, OWN_ALONE, PEER, RAW, RAW_ALONE } from './cell.ts';
import { emmettAppends } from './emmett.ts';
import { checkEvents } from './event-ledger.ts';
import { ownAppends, ownAppendsAlone } from './own.ts';
import { rawAppends, rawAppendsAlone, rawClient } from './raw.ts';

const ARMS: Record<string, AppendArm> = {
  [OWN]: ownAppends,
  [OWN_ALONE]: ownAppendsAlone,
  [PEER]: emmettAppends,
  [RAW]: rawAppends,
  [RAW_ALONE]: rawAppendsAlone,
};

/** Appends to a stream before its writer begins the next: the version is checked each time, and most streams are there already. */
const PER_STREAM = 10;

/** Writers that append to streams of their own, each as fast as it can. */
export async function benchAppend(
  job: Extract<CellJob, { kind: 'append' }>,
  mark: Mark,
): Promise<CellOutcome> {
  const arm = ARMS[job.arm];
  if (!arm) throw new Error(`there is no arm ${job.arm}`);
  await arm.layout.prepare(job.url);
  const appender = await arm.open(job);
  let [written, streams, refused] = [0, 0, 0];
  let samples: { at: number; ms: number }[] = [];

  const append = async (stream: string, version: number) => {
    const events = Array.from({ length: job.events }, (_, i) => deposited(written + i));
    written += job.events;
    const begunAt = now();
    if (!(await appender.append(stream, version, events))) refused += 1;
    const at = now();
    samples.push({ at, ms: at - begunAt });
  };
  const forMs = async (ms: number) => {
    const endAt = now() + ms;
    const writer = async () => {
      while (now() < endAt) {
        const stream = `${STREAM_TYPE}-${streams}`;
        streams += 1;
        for (let n = 0; n < PER_STREAM && now() < endAt; n += 1) await append(stream, n * job.events);
      }
    };
    await Promise.all(Array.from({ length: job.writers }, writer));
  };

  await forMs(warmMs(job.ms));
  samples = [];
  await mark('begin');
  const from = now();
  await forMs(job.ms);
  const seconds = (now() - from) / 1000;
  await mark('end');

  const faults = refused > 0 ? [`${refused} appends refused`] : [];
  // What a writer with an old version would do; whoever lets it in has a wrong ledger too.
  if (await appender.append(`${STREAM_TYPE}-0`, job.events * (PER_STREAM + 1), [deposited(written)]))
    faults.push('an append after a version that there is not was taken');
  await appender.close();
  const sql = rawClient(job.url, 1);
  faults.push(...(await checkEvents(sql, arm.layout, written)));
  await sql.end();
  return { count: samples.length, seconds, latencies: shares(samples.map(({ ms }) => ms)), faults };
}
