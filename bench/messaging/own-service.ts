import { createDapr, type Dapr } from '@sidecart/kit/dapr';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import type { Worker } from '@sidecart/kit/service';
import { testDeps } from '@sidecart/kit/testing';
import { on } from '@sidecart/messaging/handler';
import { createMessaging } from '@sidecart/messaging/messaging';
import type { Outbox } from '@sidecart/messaging/outbox';
import { benchCatalog, benchData, SELF_TYPE, TOPIC } from './bench-catalog.ts';
import type { Message } from './ledger.ts';

/** The connections of a service of the bench: its writers', and those that the worker handles messages with. */
const WORKER_CONNECTIONS = 4;

/** A service as services/ put one together, with all its workers; only its log goes nowhere. */
export function ownService(o: {
  url: string;
  writers: number;
  /** Of its sidecar; a service that publishes nothing needs none. */
  dapr?: Dapr;
  ordered: boolean;
  handled: (message: Message) => void;
}): { database: Database; outbox: Outbox<typeof benchCatalog>; workers: Worker[] } {
  const max = o.writers + WORKER_CONNECTIONS;
  const database = connectDatabase({ url: o.url, applicationName: 'bench', max });
  const { outbox, workers } = createMessaging({
    ...testDeps('bench-caller'),
    catalog: benchCatalog,
    topology: { publish: { [TOPIC]: 'pubsub-bench' }, components: [] },
    dapr: o.dapr ?? createDapr({ httpPort: 1, apiToken: '' }),
    database,
    local: {
      [SELF_TYPE]: on(benchData, async (_tx, { data }) => o.handled(data), { ordered: o.ordered }),
    },
  });
  return { database, outbox, workers };
}
