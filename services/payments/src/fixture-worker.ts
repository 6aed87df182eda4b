import { catalog } from '@sidecart/contracts/catalog';
import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { createOutbox } from '@sidecart/messaging/outbox';
import { askDirectly } from './fixture-ask.ts';
import { createPaymentWorker } from './worker.ts';

// A worker as a process of its own, to be killed: `fixture-worker.ts DATABASE PROVIDER KEY LEASE_MS`. It prints `answered KEY` between the
// provider's answer and what it makes of it.

const [url = '', provider = '', apiKey = '', leaseMs = ''] = process.argv.slice(2);
const database = connectDatabase({ url, applicationName: 'payments-killed' });
const ask = askDirectly(provider, apiKey);
const worker = createPaymentWorker({
  ...testDeps('payments'),
  database,
  outbox: createOutbox({ service: 'payments', catalog, owns: ['payments'] }),
  clock: () => new Date(),
  async ask(operation) {
    const outcome = await ask(operation);
    console.log(`answered ${operation.key}`);
    return outcome;
  },
  leaseMs: Number(leaseMs),
  pollMs: 20,
});
await worker.start();
