import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@sidecart/kit/seeded-random';
import { createGateway } from '../clients/gateway-client.ts';
import { isForPeople } from '../clients/run-client.ts';
import { createShopApi } from '../clients/shop-api.ts';
import { optionsOrExit, wholeNumberOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { onStopSignals } from '../local/stop-signals.ts';
import { backAgain, kill, planKills, shopToDisturb, victimsOf } from './chaos/kills.ts';
import {
  type Customers,
  endsOf,
  MUG,
  type Placed,
  paymentsOf,
  placeOrders,
  sell,
  stockAtRest,
} from './chaos/orders.ts';
import { checksOf, tableOf } from './chaos/verdict.ts';
import { deadLettersOf } from './dead-letters-client.ts';
import { reach, runDir, topology } from './operator.ts';
import { receivers } from './service-access.ts';

const USAGE = `npm run chaos [-- options]

Places orders in the shop that runs here (\`npm start\`), five a second, and meanwhile kills its broker, a sidecar of inventory,
payments and orders with SIGKILL, one after the other. Then it checks that each order has its effect once: confirmed, its pieces set
aside or committed, its total authorised, and no new dead letter. It sells a product of its own (${MUG.sku}) and can be run any number
of times, one at a time.

  --orders N   how many orders, from 20 to 1000 (default 100, which takes about half a minute)
  --seed N     repeats the moments and the order of the kills of another run (default: SEED of the environment, else drawn)
  --help       this text`;

const EVERY_MS = 200;
/** What was killed is back within seconds; a message whose sidecar died with it comes again half a minute later. */
const PATIENCE_MS = 120_000;

const given = optionsOrExit(USAGE, {
  orders: { type: 'string', default: '100' },
  seed: { type: 'string', default: process.env.SEED || String(randomInt(2 ** 31)) },
});
const orders = wholeNumberOrExit(given.orders, '--orders', { usage: USAGE, least: 20, most: 1000 });
const seed = wholeNumberOrExit(given.seed, '--seed (or SEED)', { usage: USAGE, least: 0, most: 2 ** 31 });

const placed: Placed[] = [];
const killed: string[] = [];

/** Answers whether all is as it should be. */
async function chaos(signal: AbortSignal): Promise<boolean> {
  const { gatewayUrl: url, ...shop } = shopToDisturb(runDir, process.env.SIDECART_URL);
  const plan = planKills(victimsOf(shop), orders * EVERY_MS, seededRandom(seed));
  console.log(`The shop at ${url}; ${orders} orders. SEED=${seed} repeats the kills:`);
  for (const { victim, atMs } of plan) console.log(`  ${seconds(atMs)}  ${victim}`);
  console.log('');

  const customers: Customers = {
    shop: createShopApi(createGateway({ url, signal, patienceMs: PATIENCE_MS })),
    run: `chaos-${randomUUID()}`,
    signal,
    patienceMs: PATIENCE_MS,
  };
  const deadBefore = await waitingDeadLetters();
  const price = await sell(customers, orders);
  const stockBefore = await customers.shop.stockOf(MUG.sku);

  const begunAt = performance.now();
  const say = (text: string) => console.log(`${seconds(performance.now() - begunAt)}  ${text}`);
  await Promise.all([
    placeOrders(customers, { orders, everyMs: EVERY_MS, price, onPlaced: (one) => placed.push(one) }),
    ...plan.map(async ({ victim, atMs }) => {
      await sleep(atMs, undefined, { signal });
      const pid = await kill(runDir, victim, signal);
      killed.push(victim);
      say(`killed ${victim} (process ${pid}); ${placed.length} orders placed so far`);
      await backAgain(runDir, victim, pid, signal);
      say(`${victim} runs again`);
    }),
  ]);
  say(`${placed.length} orders placed; waiting until each has ended`);

  const ended = await endsOf(customers, placed);
  const count = ended.filter(({ order }) => order.status === 'confirmed').length;
  const slowest = Math.max(...ended.map(({ tookMs = 0 }) => tookMs));
  say(`${count} orders confirmed; the slowest took ${seconds(slowest).trim()} from its first request`);

  const endedOrders = ended.map(({ order }) => order);
  const stockAfter = await stockAtRest(customers, stockBefore);
  const checks = checksOf({
    wanted: orders,
    orders: endedOrders,
    payments: await paymentsOf(customers, endedOrders),
    stock: { before: stockBefore, after: stockAfter },
    deadLetters: { before: deadBefore, after: await waitingDeadLetters() },
  });
  console.log(`\n${tableOf(checks)}`);
  const faults = checks.flatMap((check) => check.faults);
  for (const fault of faults) console.error(fault);
  console.log(
    faults.length === 0
      ? '\nNothing was lost, and nothing done twice.'
      : '\nNot all is as expected: see above.',
  );
  return faults.length === 0;
}

/** @throws ShopError of the first service that does not answer: half of them would be no answer. */
async function waitingDeadLetters(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const service of receivers(topology())) {
    const { access, as } = await reach(service, {});
    const waiting = await deadLettersOf(service, access, as).list({ state: 'waiting' });
    found.set(
      service,
      waiting.map(({ id }) => id),
    );
  }
  return found;
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1).padStart(5)} s`;

/** At once: this process holds nothing that would have to be given back. */
function interrupted(): never {
  console.error(
    `\nStopped: ${placed.length} of ${orders} orders placed, killed so far: ${killed.join(', ') || 'nothing'}. ` +
      'Nothing else is killed; `npm start` starts again what was, and the orders go on by themselves.',
  );
  process.exit(130);
}

const over = new AbortController();
onStopSignals({ first: interrupted, again: interrupted });
try {
  process.exitCode = (await chaos(over.signal)) ? 0 : 1;
} catch (error) {
  if (!isForPeople(error)) complain(error);
  else {
    console.error(error.message);
    process.exitCode = 1;
  }
} finally {
  // Where one part has failed, the others would go on: placing orders, and killing.
  over.abort();
}
