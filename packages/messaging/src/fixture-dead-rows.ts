import postgres from 'postgres';
import type { Fixture } from './fixture.ts';
import { entriesRead } from './fixture-entries-read.ts';
import type { Queue } from './floors.ts';

/** Rows that were deleted and stay, because a transaction could still see them. */
export interface DeadRows {
  /** How often an index entry of the queue's slots was read so far, in multiples of these rows; of sessions that have ended. */
  passed(): Promise<number>;
  /** Ends the transaction. */
  release(): Promise<void>;
}

/** Opens a transaction that stays so until what it answers is called. */
type Keeper = (fixture: Pick<Fixture, 'urls'>) => Promise<() => Promise<void>>;

/** One with an id of its own, in another database of the server. */
export const openElsewhere: Keeper = ({ urls }) => {
  const elsewhere = new URL(urls.superUrl);
  elsewhere.pathname = '/postgres';
  return open(elsewhere.href, '', (tx) => tx`SELECT pg_current_xact_id()`);
};

/** One that only reads, and has no id: no snapshot waits for it. In another database it would keep nothing. */
export const openReaderHere: Keeper = ({ urls }) =>
  open(urls.superUrl, 'ISOLATION LEVEL REPEATABLE READ', (tx) => tx`SELECT 1`);

async function open(
  url: string,
  options: string,
  begin: (tx: postgres.TransactionSql) => Promise<unknown>,
): Promise<() => Promise<void>> {
  const other = postgres(url, { max: 1 });
  const began = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const ended = other.begin(options, async (tx) => {
    await begin(tx);
    began.resolve();
    await end.promise;
  });
  await began.promise;
  return async () => {
    end.resolve();
    await ended;
    await other.end();
  };
}

export async function makeDeadRows(
  fixture: Fixture,
  o: { queue: Queue; slot: number; rows: number; keeper?: Keeper },
): Promise<DeadRows> {
  const { admin } = fixture;
  const release = await (o.keeper ?? openElsewhere)(fixture);
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
