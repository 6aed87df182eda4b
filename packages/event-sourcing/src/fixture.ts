import { connectDatabase, type Database } from '@sidecart/kit/db';
import { createLogger } from '@sidecart/kit/log';
import postgres from 'postgres';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import type { Aggregate } from './aggregate.ts';
import { tableArchive } from './archive.ts';
import { createEventStore } from './event-store.ts';
import type { Projection } from './projection.ts';
import { createEventTables } from './testing.ts';

// What the integration tests of this package share: accounts, whose balance can be told from their events.

export type AccountEvent =
  | { type: 'Opened'; owner: string }
  | { type: 'Deposited'; pence: number; note?: string }
  | { type: 'Withdrawn'; pence: number }
  | { type: 'Closed' };
export type AccountCommand =
  | { type: 'Open'; owner: string }
  | { type: 'Deposit'; pence: number; times?: number }
  | { type: 'Withdraw'; pence: number }
  | { type: 'Close' };
export interface AccountState {
  status: 'none' | 'open' | 'closed';
  owner: string;
  balance: number;
  /** In the order in which they came: a state that notices any other. */
  trail: number;
}

export const account: Aggregate<AccountState, AccountCommand, AccountEvent> = {
  type: 'account',
  state: { version: 1 },
  events: {
    Opened: { version: 1 },
    Deposited: { version: 1 },
    Withdrawn: { version: 1 },
    Closed: { version: 1 },
  },
  isClosed: ({ status }) => status === 'closed',
  initialState: () => ({ status: 'none', owner: '', balance: 0, trail: 0 }),
  decide(command, state) {
    switch (command.type) {
      case 'Open':
        return state.status === 'none' ? [{ type: 'Opened', owner: command.owner }] : [];
      case 'Deposit':
        return Array.from({ length: command.times ?? 1 }, () => ({
          type: 'Deposited' as const,
          pence: command.pence,
        }));
      case 'Withdraw':
        if (state.balance < command.pence) throw new Error('Not enough');
        return [{ type: 'Withdrawn', pence: command.pence }];
      case 'Close':
        return state.status === 'open' ? [{ type: 'Closed' }] : [];
    }
  },
  evolve(state, event) {
    const step = (n: number) => (state.trail * 31 + n) % 1_000_003;
    switch (event.type) {
      case 'Opened':
        return { status: 'open', owner: event.owner, balance: 0, trail: step(1) };
      case 'Deposited':
        return { ...state, balance: state.balance + event.pence, trail: step(event.pence) };
      case 'Withdrawn':
        return { ...state, balance: state.balance - event.pence, trail: step(-event.pence) };
      case 'Closed':
        return { ...state, status: 'closed', trail: step(2) };
      default:
        return state;
    }
  },
};

export const silent = createLogger({ service: 'test', level: 'silent' });

/** A read model of the balances, which counts its events and their order too: one that came twice or not at all shows. */
export const balances: Projection<AccountEvent> = {
  name: 'balances',
  codeVersion: 1,
  async apply(tx, generation, events) {
    for (const { streamId, version, event } of events) {
      const pence = event.type === 'Deposited' ? event.pence : event.type === 'Withdrawn' ? -event.pence : 0;
      await tx.execute(
        `INSERT INTO balance AS b (generation, id, pence, events, last_version, disorder)
         VALUES (${generation}, '${streamId}', ${pence}, 1, ${version}, ${version === 1 ? 0 : 1})
         ON CONFLICT (generation, id) DO UPDATE SET pence = b.pence + excluded.pence, events = b.events + 1,
           last_version = excluded.last_version,
           disorder = b.disorder + (excluded.last_version <> b.last_version + 1)::int`,
      );
    }
  },
  async discard(db, generation, limit) {
    const gone = await db.execute(
      `DELETE FROM balance WHERE ctid = ANY (ARRAY(SELECT ctid FROM balance WHERE generation = ${generation} LIMIT ${limit}))`,
    );
    return (gone as unknown as { count: number }).count;
  },
};

export interface Fixture {
  urls: TestDatabase;
  /** As the application role. */
  database: Database;
  /** As the superuser, to look and to break. */
  admin: postgres.Sql;
  store: ReturnType<typeof createEventStore<AccountState, AccountCommand, AccountEvent>>;
  deps: { database: Database; aggregate: typeof account; archive: typeof tableArchive; topics: string[] };
  /** Handles a command in a transaction of its own. */
  run(streamId: string, command: AccountCommand): Promise<void>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** A fresh database with the tables of event store and messaging, and a table `balance`. */
export async function openFixture(name: string, o: { snapshotEvery?: number } = {}): Promise<Fixture> {
  const urls = await testDatabase(name);
  await createEventTables(urls.ownerUrl);
  const owner = postgres(urls.ownerUrl, { max: 1 });
  await owner`
    CREATE TABLE balance (generation int, id text, pence bigint, events int, last_version bigint, disorder int,
      PRIMARY KEY (generation, id))`;
  await owner.end();
  const database = connectDatabase({ url: urls.url, applicationName: name, max: 10 });
  const admin = postgres(urls.superUrl, { max: 4, onnotice: () => {} });
  const store = createEventStore({ database, aggregate: account, log: silent, ...o });
  return {
    urls,
    database,
    admin,
    store,
    deps: { database, aggregate: account, archive: tableArchive, topics: ['accounts'] },
    async run(streamId, command) {
      await database.db.transaction((tx) => store.handle(tx, streamId, command));
    },
    async clear() {
      await admin`TRUNCATE streams, events, snapshots, subscriptions, events_archive, balance, outbox, outbox_delayed, outbox_local, sent`;
    },
    async close() {
      await store.worker.stop();
      await database.close();
      await admin.end();
      await urls.drop();
    },
  };
}
