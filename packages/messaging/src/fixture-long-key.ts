import type { Fixture } from './fixture.ts';
import type { Queue } from './floors.ts';
import { slotOf } from './slot.ts';
import { STEP } from './slot-read.ts';

/** Messages of the key `long`: more than two reads pass, and there is a rest. */
export const LONG = 2 * STEP + 500;
export const slot = slotOf('long');
/** A key of the same slot. */
export const behind = Array.from({ length: 100 }, (_, i) => `k${i}`).find(
  (key) => slotOf(key) === slot,
) as string;

/** As the outbox writes them. */
export const HEADERS =
  '{"time":"2026-01-01T00:00:00Z","correlationid":"c","actor":"a","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}';

/** Writes them, or so many of them, and behind them one message of another key, with a number that nobody knows. */
export async function fillLong({ admin }: Fixture, queue: Queue, type: string, count = LONG): Promise<void> {
  const [column, topic] = queue === 'outbox' ? [', topic', ", 'orders'"] : ['', ''];
  await admin.unsafe(`
    INSERT INTO ${queue} (slot, msg_key, event_id, key_seq, type, payload, headers${column})
    SELECT ${slot}, key, gen_random_uuid(), n, '${type}', json_build_object('key', key, 'n', n),
      '${HEADERS}'${topic}
    FROM generate_series(1, ${count + 1}) AS n, LATERAL (SELECT CASE WHEN n <= ${count} THEN 'long' ELSE '${behind}' END) AS k (key)
    ORDER BY n`);
}
