import type { Arm } from './arm.ts';
import { graphileWorker } from './graphile-worker.ts';
import { pgBoss } from './pg-boss.ts';
import { pgTransactionalOutbox } from './pg-transactional-outbox.ts';

import { sidecart } from './sidecart.ts';

export const ARMS: Record<string, Arm> = {
  sidecart,
  'graphile-worker, batching': graphileWorker('batching'),
  'graphile-worker, no batching': graphileWorker('no batching'),
  'pg-boss, notified': pgBoss('notified'),
  'pg-boss, polling': pgBoss('polling'),
  'pg-transactional-outbox, replication': pgTransactionalOutbox('replication'),
  'pg-transactional-outbox, polling': pgTransactionalOutbox('polling'),
  'graphile-worker, defaults': graphileWorker('defaults'),
  'pg-boss, defaults': pgBoss('defaults'),
  'pg-transactional-outbox, defaults': pgTransactionalOutbox('defaults'),
};
