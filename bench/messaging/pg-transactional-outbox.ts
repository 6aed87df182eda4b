import { randomUUID } from 'node:crypto';
import pg from 'pg';
import {
  createReplicationFullConcurrencyController,
  createReplicationSegmentMutexConcurrencyController,
  DatabaseSetup,
  getDisabledLogger,
  initializeMessageStorage,
  initializePollingMessageListener,
  initializeReplicationMessageListener,
  type StoredTransactionalMessage,
} from 'pg-transactional-outbox';
import type { Arm, ArmOptions } from './arm.ts';
import { businessTransaction, countRows, writerPool } from './business.ts';
import type { Message } from './ledger.ts';

// Best, either of two: the listener on logical replication ("receives new messages immediately"), with a lock per segment
// for order and without one for none; or the polling listener every 10 ms, a segment per key for order and `parallel` for
// none, with the fastest of batches of 5, 20 and 100 (each message that ends makes it poll again, over all that wait).
// Both as in the README of the package, sections "Logical replication vs. polling", "Implementing the transactional outbox
// producer" (whose two protections are off for an outbox) and "Strategies". Defaults: polling, 5 messages every 500 ms.
// Replication of this version now and then hears of a message before it can be read, and then never handles it.
const TABLE = { outboxOrInbox: 'outbox', schema: 'public', table: 'outbox' } as const;
const FUNCTION = 'next_outbox_messages';
const PUBLICATION = 'bench_publication';
const CONNECTIONS = 10;

type Kind = 'replication' | 'polling' | 'defaults';

const settings = {
  dbSchema: TABLE.schema,
  dbTable: TABLE.table,
  enableMaxAttemptsProtection: false,
  enablePoisonousMessageProtection: false,
};

export function pgTransactionalOutbox(kind: Kind): Arm {
  return {
    async prepare(url) {
      const database = databaseOf(url);
      const common = { ...TABLE, database, listenerRole: new URL(url).username };
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query(DatabaseSetup.dropAndCreateTable(common));
      if (kind === 'replication') {
        const replication = { ...common, publication: PUBLICATION, replicationSlot: database };
        await client.query(DatabaseSetup.setupReplicationCore(replication));
        await client.query(`SELECT pg_create_logical_replication_slot('${database}', 'pgoutput')`);
      } else {
        const polling = { ...common, nextMessagesSchema: TABLE.schema, nextMessagesName: FUNCTION };
        await client.query(DatabaseSetup.createPollingFunction(polling));
        await client.query(DatabaseSetup.setupPollingIndexes(polling));
      }
      await client.end();
    },
    async open(o) {
      const pool = writerPool(o.url, o.writers);
      const store = initializeMessageStorage({ outboxOrInbox: 'outbox', settings }, getDisabledLogger());
      let shutdown: () => Promise<void> = async () => {};
      return {
        write: (messages) =>
          businessTransaction(pool, messages[0]?.key ?? '', async (client) => {
            for (const message of messages) await store(stored(message, o.ordered), client);
          }),
        async start() {
          shutdown = listen(kind, o);
        },
        stop: () => shutdown(),
        waiting: () => countRows(pool, 'SELECT count(*) AS n FROM outbox WHERE processed_at IS NULL'),
        close: () => pool.end(),
      };
    },
  };
}

const databaseOf = (url: string) => new URL(url).pathname.slice(1);

function stored(message: Message, ordered: boolean) {
  return {
    id: randomUUID(),
    aggregateType: 'bench',
    aggregateId: message.key,
    messageType: 'bench',
    payload: message,
    ...(ordered ? { segment: message.key } : { concurrency: 'parallel' as const }),
  };
}

function listen(kind: Kind, o: ArmOptions): () => Promise<void> {
  const handler = {
    handle: async ({ payload }: StoredTransactionalMessage) => o.handled(payload as Message),
  };
  const connection = { connectionString: o.url };
  const common = {
    outboxOrInbox: 'outbox' as const,
    dbListenerConfig: connection,
    dbHandlerConfig: { ...connection, max: CONNECTIONS },
  };
  const log = getDisabledLogger();
  if (kind === 'replication') {
    const [shutdown] = initializeReplicationMessageListener(
      {
        ...common,
        settings: { ...settings, dbPublication: PUBLICATION, dbReplicationSlot: databaseOf(o.url) },
      },
      handler,
      log,
      {
        concurrencyStrategy: o.ordered
          ? createReplicationSegmentMutexConcurrencyController()
          : createReplicationFullConcurrencyController(),
      },
    );
    return shutdown;
  }
  const best = { nextMessagesBatchSize: o.ordered ? 5 : 20, nextMessagesPollingIntervalInMs: 10 };
  const [shutdown] = initializePollingMessageListener(
    {
      ...common,
      settings: { ...settings, nextMessagesFunctionName: FUNCTION, ...(kind === 'polling' && best) },
    },
    handler,
    log,
  );
  return shutdown;
}
