import { connectDatabase, type Database } from '@sidecart/kit/db';
import { createHealth, type Health } from '@sidecart/kit/health';
import { createLogger } from '@sidecart/kit/log';
import { createMetrics } from '@sidecart/kit/metrics';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import type { Aggregate } from './aggregate.ts';
import { type ArchiveStore, tableArchive } from './archive.ts';
import { createEventStore } from './event-store.ts';
import type { Projection } from './projection.ts';
import { createProjector, type Projector } from './projector.ts';
import { createEventTables } from './testing.ts';

// biome-ignore lint/performance/noBarrelFile: what every test of this package needs comes from here
export { openTransaction } from '../../../tests/open-transaction.ts';
export { eventually, sleep as pause } from '../../../tests/waiting.ts';

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

export interface BalanceRow {
  id: string;
  pence: number;
  events: number;
  last_version: number;
  /** Events that did not come right after the one before them. */
  disorder: number;
}

/** A read model of the balances, which counts its events and their order too: one that came twice or not at all shows. */
export const balances: Projection<AccountEvent> = {
  name: 'balances',
  codeVersion: 1,
  async apply(tx, generation, events) {
    const rows = new Map<string, BalanceRow>();
    const known = (await tx.execute(
      sql`SELECT id, pence::int, events, last_version::int, disorder FROM balance WHERE generation = ${generation}
        AND id IN ${[...new Set(events.map(({ streamId }) => streamId))]}`,
    )) as unknown as BalanceRow[];
    for (const row of known) rows.set(row.id, row);
    for (const { streamId, version, event } of events) {
      const row = rows.get(streamId) ?? { id: streamId, pence: 0, events: 0, last_version: 0, disorder: 0 };
      row.pence += event.type === 'Deposited' ? event.pence : event.type === 'Withdrawn' ? -event.pence : 0;
      row.events++;
      if (version !== row.last_version + 1) row.disorder++;
      row.last_version = version;
      rows.set(streamId, row);
    }
    await tx.execute(sql`
      INSERT INTO balance SELECT ${generation}, r.* FROM json_to_recordset(${JSON.stringify([...rows.values()])}::json)
        AS r (id text, pence bigint, events int, last_version bigint, disorder int)
      ON CONFLICT (generation, id) DO UPDATE SET pence = excluded.pence, events = excluded.events,
        last_version = excluded.last_version, disorder = excluded.disorder`);
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
  deps: { database: Database; aggregate: typeof account; archive: ArchiveStore; topics: string[] };
  /** Handles a command in a transaction of its own. */
  run(streamId: string, command: AccountCommand): Promise<void>;
  /** Opens an account with so many events in it. */
  fill(streamId: string, events: number): Promise<void>;
  /** The rows of a stream as they are. */
  rows(streamId: string): Promise<{ version: number; type: string }[]>;
  /** Rows of the read model: of a generation, or those that are read. */
  balances(generation?: number): Promise<BalanceRow[]>;
  liveGeneration(): Promise<number | undefined>;
  /** Starts a projector that is stopped at the end of the test; several are replicas. */
  project(o?: {
    projection?: Projection<AccountEvent>;
    /** Another one. */
    beside?: Projection<AccountEvent>;
    database?: Database;
    archive?: ArchiveStore;
  }): Projector & {
    health: Health;
  };
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** A fresh database with the tables of event store and messaging, and a table `balance`; on another server than the shared one by `serverUrl`. */
export async function openFixture(
  name: string,
  o: { snapshotEvery?: number; serverUrl?: string } = {},
): Promise<Fixture> {
  const urls = await testDatabase(name, ...(o.serverUrl === undefined ? [] : [o.serverUrl]));
  await createEventTables(urls.ownerUrl);
  const owner = postgres(urls.ownerUrl, { max: 1 });
  await owner`
    CREATE TABLE balance (generation int, id text, pence bigint, events int, last_version bigint, disorder int,
      PRIMARY KEY (generation, id))`;
  await owner.end();
  const database = connectDatabase({ url: urls.url, applicationName: name, max: 10 });
  const admin = postgres(urls.superUrl, { max: 4, onnotice: () => {} });
  const store = createEventStore({ database, aggregate: account, log: silent, ...o });
  const run = async (streamId: string, command: AccountCommand) =>
    void (await database.db.transaction((tx) => store.handle(tx, streamId, command)));
  return {
    urls,
    database,
    admin,
    store,
    deps: { database, aggregate: account, archive: tableArchive, topics: ['accounts'] },
    run,
    async fill(streamId, events) {
      await run(streamId, { type: 'Open', owner: 'Ada' });
      if (events > 1) await run(streamId, { type: 'Deposit', pence: 1, times: events - 1 });
    },
    rows: async (streamId) => [
      ...(await admin<{ version: number; type: string }[]>`
        SELECT version::int, type FROM events WHERE stream_id = ${streamId} ORDER BY events.version`),
    ],
    balances: async (generation) => [
      ...(await admin<BalanceRow[]>`
        SELECT id, pence::int, events, last_version::int, disorder FROM balance
        WHERE generation = coalesce(${generation ?? null}::int,
          (SELECT s.generation FROM subscriptions s WHERE name = 'balances' AND state = 'live')) ORDER BY id`),
    ],
    async liveGeneration() {
      const [row] = await admin<{ generation: number }[]>`
        SELECT generation FROM subscriptions WHERE name = 'balances' AND state = 'live'`;
      return row?.generation;
    },
    project(options = {}) {
      const health = createHealth('test');
      const projector = createProjector({
        database: options.database ?? database,
        shapes: account.events,
        projections: [options.projection ?? balances, ...(options.beside ? [options.beside] : [])],
        archive: options.archive ?? tableArchive,
        log: silent,
        metrics: createMetrics('test'),
        health,
        pollMs: 20,
      });
      projector.start();
      onTestFinished(() => projector.stop());
      return { ...projector, health };
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

/** An archive elsewhere, that a test looks into; `during` is done after something was put. */
export function archiveElsewhere(during: (name: string) => Promise<unknown> = async () => {}) {
  const kept = new Map<string, Buffer>();
  const store: ArchiveStore = {
    async put(name, content) {
      kept.set(name, content);
      await during(name);
      return name;
    },
    get: async (name) => kept.get(name) ?? Promise.reject(new Error(`${name} is away`)),
  };
  return { store, kept };
}
