import { createMessagingTables } from '@sidecart/messaging/testing';
import type { Arm } from './arm.ts';
import { SELF_TYPE } from './bench-catalog.ts';
import { BUSINESS_NOTE, business } from './business.ts';
import { BATCH } from './cell.ts';
import { ownService } from './own-service.ts';

/** Messages in one call; only the bursts of an empty start have more in a transaction. */
const PER_CALL = BATCH;

/** Messages of a service to itself, without a broker, with the settings that every service has. */
export const sidecart: Arm = {
  prepare: (url) => createMessagingTables(url),
  async open(o) {
    const { database, outbox, workers } = ownService(o);
    return {
      write: (messages) =>
        database.db.transaction(async (tx) => {
          const change = tx
            .insert(business)
            .values({ customer: messages[0]?.key ?? '', note: BUSINESS_NOTE });
          const commands = messages.map((data) => ({ type: SELF_TYPE, data }) as const);
          // Independent statements go together, as in the services.
          await Promise.all([change, outbox.send(tx, ...commands.slice(0, PER_CALL))]);
          for (let from = PER_CALL; from < commands.length; from += PER_CALL)
            await outbox.send(tx, ...commands.slice(from, from + PER_CALL));
        }),
      async start() {
        for (const worker of workers) await worker.start();
      },
      async stop() {
        for (const worker of workers) await worker.stop();
      },
      async waiting() {
        const [row] = await database.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox_local`;
        return row?.n ?? 0;
      },
      close: () => database.close(),
    };
  },
};
