import type { Event } from '@event-driven-io/emmett';
import {
  getPostgreSQLEventStore,
  postgreSQLRawSQLProjection,
  rebuildPostgreSQLProjections,
} from '@event-driven-io/emmett-postgresql';
import pg from 'pg';
import {
  type Account,
  type Deposited,
  EVENT_TYPE,
  evolveAccount,
  initialAccount,
  META,
  STREAM_TYPE,
} from './account.ts';
import type { AppendArm, LoadArm, RebuildArm } from './arm.ts';
import { DATA, type Layout } from './layout.ts';
import { upsertOne, VIEW } from './read-model.ts';

// Best, as in its documentation (event-driven-io.github.io/emmett/event-stores/postgresql.html) and its own benchmarks
// (src/packages/emmett-postgresql/src/benchmarks): the schema made before, so that no call looks for it; a pool as large as there are
// writers, whose default is 10; the expected version as a number, which spares it the question for the stream's version; one call
// for all events of an append. It puts its statements together as text, so nothing of it can be prepared.

type Deposit = Event<'Deposited', Omit<Deposited, 'type'>, typeof META>;

/** Of its ExpectedVersionConflictError, whose class is there twice: one package has the other bundled. */
const CONFLICT = 412;
const NO_MIGRATION = { autoMigration: 'None' } as const;
/** Streams are of the type before the first hyphen. */
const asEvent = ({ type, ...data }: Deposited): Deposit => ({ type, data, metadata: META }) as Deposit;

async function createTables(url: string): Promise<void> {
  const store = getPostgreSQLEventStore(url);
  await store.schema.migrate();
  await store.close();
}

const EMMETT_TABLES: Layout = {
  prepare: createTables,
  events: `SELECT stream_id AS stream, stream_position AS version, global_position AS pos, message_id AS id,
    (message_data->>'n')::int AS n, (message_data->>'pence')::int AS pence FROM emt_messages`,
  streams: 'SELECT stream_id AS stream, stream_position AS version FROM emt_streams',
  fillStreams: (numbered) => `
    INSERT INTO emt_streams (stream_id, stream_position, partition, stream_type, stream_metadata, is_archived)
    SELECT stream, max(version), 'emt:default', '${STREAM_TYPE}', '{}', false FROM (${numbered}) AS e GROUP BY stream`,
  fillEvents: (numbered) => `
    INSERT INTO emt_messages (stream_id, stream_position, partition, message_data, message_metadata, message_schema_version,
      message_type, message_kind, message_id, transaction_id)
    SELECT stream, version, 'emt:default', ${DATA}, '${JSON.stringify(META)}', '1', '${EVENT_TYPE}', 'E',
      gen_random_uuid()::text, pg_current_xact_id()
    FROM (${numbered}) AS e ORDER BY n`,
};

function openStore(url: string, connections: number) {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool }, schema: NO_MIGRATION });
  return { store, pool };
}

export const emmettAppends: AppendArm = {
  layout: EMMETT_TABLES,
  async open({ url, writers }) {
    const { store, pool } = openStore(url, writers);
    return {
      async append(stream, expectedVersion, events) {
        try {
          await store.appendToStream(stream, events.map(asEvent), {
            expectedStreamVersion: BigInt(expectedVersion),
          });
          return true;
        } catch (err) {
          if ((err as { errorCode?: unknown }).errorCode === CONFLICT) return false;
          throw err;
        }
      },
      close: () => pool.end(),
    };
  },
};

export const emmettLoads: LoadArm = {
  layout: EMMETT_TABLES,
  async open({ url }) {
    const { store, pool } = openStore(url, 1);
    return {
      async load(stream) {
        const { state, currentStreamVersion } = await store.aggregateStream<Account, Deposit>(stream, {
          evolve: (account: Account, { data }: Deposit) => evolveAccount(account, data),
          initialState: initialAccount,
        });
        return { state, version: Number(currentStreamVersion) };
      },
      close: () => pool.end(),
    };
  },
};

/** Its largest batches and no pause between them: its default are 100 events every 50 ms. */
const PULLING = { batchSize: 2000, pullingFrequencyInMs: 0 };

export const emmettRebuilds: RebuildArm = {
  layout: EMMETT_TABLES,
  async open({ url }) {
    const projection = postgreSQLRawSQLProjection<Deposit>({
      name: VIEW,
      canHandle: [EVENT_TYPE],
      evolve: ({ data, metadata }) => {
        const { streamName, streamPosition } = metadata as unknown as {
          streamName: string;
          streamPosition: bigint;
        };
        return upsertOne(streamName, data.pence, Number(streamPosition)) as never;
      },
    });
    return {
      async rebuild() {
        const consumer = rebuildPostgreSQLProjections({
          connectionString: url,
          projections: [projection],
          pulling: PULLING,
        } as Parameters<typeof rebuildPostgreSQLProjections>[0]);
        await consumer.start();
        await consumer.close();
      },
      close: async () => {},
    };
  },
};
