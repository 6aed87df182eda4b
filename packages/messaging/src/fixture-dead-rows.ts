import postgres from 'postgres';
import type { Fixture } from './fixture.ts';
import { entriesRead } from './fixture-entries-read.ts';
import type { Queue } from './floors.ts';

/** Rows that were deleted and stay, because a transaction in another database of the server could still see them. */
export interface DeadRows {
  /** How often an index entry of the queue's slots was read so far, in multiples of these rows; of sessions that have ended. */
  passed(): Promise<number>;
  /** Ends the transaction. */
  release(): Promise<void>;
}

/** A transaction with an id of its own that stands open in another database of the server; the answer ends it. */
export async function openElsewhere({ urls }: Pick<Fixture, 'urls'>): Promise<() => Promise<void>> {
  const elsewhere = new URL(urls.superUrl);
  elsewhere.pathname = '/postgres';
  const other = postgres(elsewhere.href, { max: 1 });
  const began = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const open = other.begin(async (tx) => {
    await tx`SELECT pg_current_xact_id()`;
    began.resolve();
    await end.promise;
  });
  await began.promise;
  return async () => {
    end.resolve();
    await open;
    await other.end();
  };
}

export async function makeDeadRows(
  fixture: Fixture,
  o: { queue: Queue; slot: number; rows: number },
): Promise<DeadRows> {
  const { admin } = fixture;
  const release = await openElsewhere(fixture);
  const topic = o.queue === 'outbox' ? { column: ', topic', value: ", 'orders'" } : { column: '', value: '' };
  await admin.unsafe(`
    INSERT INTO ${o.queue} (slot, msg_key, event_id, key_seq, type, payload, headers${topic.column})
    SELECT ${o.slot}, 'k', gen_random_uuid(), n, 'T', '{}', '{}'${topic.value} FROM generate_series(1, ${o.rows}) AS n;
    DELETE FROM ${o.queue}`);
  const read = async () => (await entriesRead(admin, o.queue)).byIndex;
  const before = await read();
  return {
    passed: async () => ((await read()) - before) / o.rows,
    release,
  };
}
