import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { createConsumer } from './consumer.ts';
import { on } from './handler.ts';
import { delivery } from './testing.ts';

// A process of its own for the tests of what kills one: takes each number of its arguments as a message, and dies of 13.
// Without `watch` as the second argument nobody counts its deaths. Ends with 0 when every message was answered with "done".

const [url = '', watch, ...numbers] = process.argv.slice(2);
const database = connectDatabase({ url, applicationName: 'consumer-fixture' });
const consumer = createConsumer({
  ...testDeps('inventory'),
  database,
  topics: {
    orders: {
      kind: 'fact',
      handlers: {
        Placed: on(z.object({ n: z.int() }), async (tx, { data }) => {
          await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
          if (data.n === 13) process.kill(process.pid, 'SIGKILL');
          // Dead before it goes on.
          if (data.n === 13) await new Promise(() => {});
        }),
      },
    },
  },
});
if (watch === 'watch') await consumer.worker.start();
const answers: string[] = [];
for (const n of numbers) {
  const body = delivery('Placed', { n: Number(n) }, { id: `m${n}`, key: `k${n}` });
  answers.push(await consumer.receive('orders', new TextEncoder().encode(body), {}));
}
if (watch === 'watch') await consumer.worker.stop();
await database.close();
process.exit(answers.every((answer) => answer === 'done') ? 0 : 1);
