import { setTimeout as sleep } from 'node:timers/promises';
import { type Append, appendAlone, appendEvents } from '@sidecart/event-sourcing/append';
import { tableArchive } from '@sidecart/event-sourcing/archive';
import { ConcurrencyError } from '@sidecart/event-sourcing/errors';
import { loadStream } from '@sidecart/event-sourcing/load';
import type { Projection } from '@sidecart/event-sourcing/projection';
import { createProjector } from '@sidecart/event-sourcing/projector';
import { ORIGIN } from '@sidecart/event-sourcing/subscription';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type Account, account, type Deposited, META } from './account.ts';
import type { AppendArm, LoadArm, RebuildArm } from './arm.ts';
import { OWN_TABLES } from './layout.ts';
import { add, LIVE, REBUILT, UPSERT, VIEW } from './read-model.ts';

/** With the settings that every service has; only the number of connections is the cell's. */
export const openDatabase = (url: string, max: number) =>
  connectDatabase({ url, applicationName: 'bench', max });

type Write = (database: Database, append: Append<Deposited>) => Promise<number>;

const appendsBy = (write: Write): AppendArm => ({
  layout: OWN_TABLES,
  async open({ url, writers }) {
    const database = openDatabase(url, writers);
    return {
      async append(streamId, expectedVersion, events) {
        try {
          await write(database, { streamId, expectedVersion, events, meta: META });
          return true;
        } catch (err) {
          if (err instanceof ConcurrencyError) return false;
          throw err;
        }
      },
      close: () => database.close(),
    };
  },
});

/** As the services append: in a transaction that has messages and more beside it. */
export const ownAppends = appendsBy(({ db }, append) =>
  db.transaction((tx) => appendEvents(tx, account, append)),
);

/** Of who has nothing else to write: one statement, and that by itself is a transaction. */
export const ownAppendsAlone = appendsBy((database, append) => appendAlone({ database }, account, append));

export const ownLoads: LoadArm = {
  layout: OWN_TABLES,
  async open({ url, snapshot }) {
    const database = openDatabase(url, 1);
    return {
      async load(stream) {
        const loaded = await loadStream<Account>(database.db, account, stream);
        if (loaded.snapshotDamaged || loaded.snapshotVersion > 0 !== snapshot)
          throw new Error(`${stream} was loaded from a snapshot of version ${loaded.snapshotVersion}`);
        return loaded;
      },
      close: () => database.close(),
    };
  },
};

const view: Projection<Deposited> = {
  name: VIEW,
  codeVersion: 1,
  needsMeta: false,
  async apply(tx, generation, events) {
    const rows = new Map();
    for (const { streamId, version, event } of events) add(rows, streamId, version, event.pence);
    await runPrepared(tx, 'account_view', UPSERT, [String(generation), JSON.stringify([...rows.values()])]);
  },
  discard: async () => 0,
};

/** Beside a read model that is live and up to date, as in a service. */
export const ownRebuilds: RebuildArm = {
  layout: OWN_TABLES,
  async open({ url }) {
    const database = openDatabase(url, 4);
    await database.sql.unsafe(
      `INSERT INTO subscriptions (name, generation, code_version, state, done, origin)
       VALUES ('${VIEW}', ${LIVE}, 1, 'live', pg_current_snapshot(), ${ORIGIN})`,
    );
    const projector = createProjector<Deposited>({
      ...testDeps('bench'),
      database,
      shapes: account.events,
      projections: [view],
      archive: tableArchive,
    });
    await projector.start();
    return {
      async rebuild() {
        await projector.rebuild(VIEW);
        for (;;) {
          const [row] = await database.sql<{ generation: number }[]>`
            SELECT generation FROM subscriptions WHERE name = ${VIEW} AND state = 'live'`;
          if (row?.generation === REBUILT) return;
          await sleep(10);
        }
      },
      async close() {
        await projector.stop();
        await database.close();
      },
    };
  },
};
