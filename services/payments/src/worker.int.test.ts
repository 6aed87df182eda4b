import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { newId } from '@sidecart/kit/ids';
import type { Worker } from '@sidecart/kit/service';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  API_KEY,
  type ReceivedWebhook,
  startTestProvider,
  type TestProvider,
  WEBHOOK_SECRET,
} from '../../../provider/testing.ts';
import { settleOperation } from './commands.ts';
import { askDirectly } from './fixture-ask.ts';
import { type AskProvider, toOutcome } from './provider.ts';
import { findOperation } from './store.ts';
import { openPayments, type TestPayments } from './testing.ts';
import { ProviderEvent, takeEvent } from './webhooks.ts';

// The worker with the real simulator and a real PostgreSQL; between them there is no sidecar here (see sidecar.int.test.ts). Whatever
// goes wrong, the simulator's ledger must have each movement of money once.

let shop: TestPayments;
let provider: TestProvider;
/** What is done with the provider's webhooks: by default they are handed in as the gateway would. */
let onWebhook: (webhook: ReceivedWebhook) => Promise<unknown>;
let webhookUrl: string;
const workers: Worker[] = [];

beforeAll(async () => {
  shop = await openPayments();
  webhookUrl = await listenForWebhooks();
  provider = await startTestProvider({ webhookUrl, slowMs: 600, lateMs: 700 });
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()));
  await provider.faults({});
});
afterAll(async () => {
  await provider?.kill();
  closeWebhooks?.();
  await shop?.close();
});

let closeWebhooks: (() => void) | undefined;
async function listenForWebhooks(): Promise<string> {
  const { createServer } = await import('node:http');
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    await onWebhook({ headers: req.headers as Record<string, string>, body }).catch(() => {});
    res.writeHead(204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeWebhooks = () => {
    server.closeAllConnections();
    server.close();
  };
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/`;
}

const signature = ({ headers }: ReceivedWebhook) =>
  Object.fromEntries(
    ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, headers[name] ?? '']),
  );
const handIn = async (webhook: ReceivedWebhook) => shop.webhook(webhook.body, signature(webhook));
const ignore = async () => {};

function start(
  o: { ask?: AskProvider; webhooks?: typeof onWebhook } & Parameters<TestPayments['worker']>[1] = {},
) {
  const { ask = askDirectly(provider.url, API_KEY), webhooks = handIn, ...more } = o;
  onWebhook = webhooks;
  const worker = shop.worker(ask, more);
  workers.push(worker);
  return worker;
}

/** By kind and amount: refunds may be asked for side by side. */
const moved = async (order: string) =>
  (await provider.ledger(order))
    .map(({ kind, amount }) => [kind, amount])
    .sort(([a], [b]) => RANK.indexOf(String(a)) - RANK.indexOf(String(b)) || 0)
    .sort((a, b) => (a[0] === b[0] ? Number(a[1]) - Number(b[1]) : 0));
const RANK = ['authorised', 'captured', 'voided', 'refunded'];
/** Of a walk, each movement once. */
const everything = [
  ['authorised', 1000],
  ['captured', 900],
  ['refunded', 300],
  ['refunded', 600],
];

/** Authorises, captures and refunds, waiting for each. */
async function walk(token: string): Promise<string> {
  const order = newId('ord');
  await shop.authorise(order, token);
  await shop.settled(order);
  await shop.capture(order, 900);
  await shop.settled(order);
  await Promise.all([shop.refund(order, 300), shop.refund(order, 600)]);
  await shop.settled(order);
  return order;
}

describe('the money of an order', () => {
  test('is held, taken and given back, with a fact for each', async () => {
    start({ webhooks: ignore });
    const order = await walk('tok_ok');
    expect(await shop.paymentOf(order)).toMatchObject({
      status: 'captured',
      authorised: { amount: 1000 },
      captured: { amount: 900 },
      refunded: { amount: 900 },
    });
    expect(await shop.told(order)).toEqual([
      'PaymentAuthorised',
      'PaymentCaptured',
      'PaymentRefunded',
      'PaymentRefunded',
    ]);
    expect(await moved(order)).toEqual(everything);
  });

  test('is held and let go', async () => {
    start({ webhooks: ignore });
    const order = newId('ord');
    await shop.authorise(order);
    await shop.letGo(order);
    expect(await shop.settled(order)).toMatchObject({ status: 'voided' });
    expect(await moved(order)).toEqual([
      ['authorised', 1000],
      ['voided', 1000],
    ]);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised', 'PaymentVoided']);
  });

  test('of a webhook alone: every answer is lost', async () => {
    await provider.faults({ dropAnswers: 1000 });
    start();
    const order = await walk('tok_ok');
    expect(await moved(order)).toEqual(everything);
    expect(await shop.told(order)).toHaveLength(4);
  });
});

describe('each mishap ends, with each movement of money once', () => {
  test.each(['tok_slow', 'tok_timeout', 'tok_twice', 'tok_late', 'tok_down'])('%s', async (token) => {
    start();
    const order = await walk(token);
    expect(await moved(order)).toEqual(everything);
    expect(await shop.told(order)).toEqual([
      'PaymentAuthorised',
      'PaymentCaptured',
      'PaymentRefunded',
      'PaymentRefunded',
    ]);
  });

  test.each([
    ['tok_declined', ['PaymentDeclined'], []],
    ['tok_capture_refused', ['PaymentAuthorised', 'CaptureRefused'], [['authorised', 1000]]],
    ['tok_expired', ['PaymentAuthorised', 'CaptureRefused'], [['authorised', 1000]]],
  ])('%s is an answer, and not asked for again', async (token, facts, movements) => {
    start();
    const order = newId('ord');
    await shop.authorise(order, token);
    const { status } = await shop.settled(order);
    if (status === 'authorised') await shop.capture(order);
    await shop.settled(order);
    await sleep(200);
    expect(await shop.told(order)).toEqual(facts);
    expect(await moved(order)).toEqual(movements);
    const { operations } = await shop.paymentOf(order);
    expect(operations.at(-1)).toMatchObject({ state: 'refused', attempts: 1, reason: expect.any(String) });
  });

  test('tok_void_refused: the money stays held, and the void may be asked for again', async () => {
    start();
    const order = newId('ord');
    await shop.authorise(order, 'tok_void_refused');
    await shop.letGo(order);
    expect(await shop.settled(order)).toMatchObject({ status: 'authorised' });
    await shop.letGo(order);
    await shop.settled(order);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised', 'VoidRefused', 'VoidRefused']);
    expect(await moved(order)).toEqual([['authorised', 1000]]);
  });

  test('tok_refund_refused: the money stays taken, and another refund has an answer of its own', async () => {
    start();
    const order = newId('ord');
    await shop.authorise(order, 'tok_refund_refused');
    await shop.settled(order);
    await shop.capture(order);
    await shop.settled(order);
    const refund = newId('rfd');
    for (let time = 0; time < 2; time += 1) {
      await shop.refund(order, 500, refund);
      await shop.settled(order);
    }
    await shop.refund(order, 500);
    expect(await shop.settled(order)).toMatchObject({ refunded: { amount: 0 } });
    expect((await shop.told(order)).filter((type) => type === 'RefundRefused')).toHaveLength(2);
  });

  test('control: with a new idempotency key for each attempt the customer pays twice', async () => {
    const ask = askDirectly(provider.url, API_KEY);
    start({
      webhooks: ignore,
      ask: (operation) => ask({ ...operation, key: `${operation.key}.${operation.attempts}` }),
    });
    const order = newId('ord');
    await shop.authorise(order, 'tok_timeout');
    // The first attempt under each key is never answered: it is stopped here, after some of them.
    await vi.waitFor(async () => expect((await moved(order)).length).toBeGreaterThan(1), { timeout: 10_000 });
    await Promise.all(workers.splice(0).map((worker) => worker.stop()));
    expect(new Set((await moved(order)).map(String))).toEqual(new Set(['authorised,1000']));
    await shop.eyes`DELETE FROM payment_operations WHERE order_id = ${order}`;
  });
});

describe('an outage', () => {
  test('is waited for, however long, and shows in the health details', async () => {
    await provider.faults({ down: true });
    start({ patienceMs: 0, measureMs: 100 });
    const order = newId('ord');
    await shop.authorise(order);
    await vi.waitFor(
      async () => expect((await shop.paymentOf(order)).operations[0].attempts).toBeGreaterThan(3),
      {
        timeout: 10_000,
      },
    );
    await vi.waitFor(() => expect(shop.health.details()).toMatchObject({ status: 'degraded', ready: true }), {
      timeout: 10_000,
    });
    expect(shop.health.details().components.provider?.reason).toMatch(/wait, .*; .* got 503 unavailable$/);
    await provider.faults({});
    expect(await shop.settled(order)).toMatchObject({ status: 'authorised' });
    expect(await moved(order)).toEqual([['authorised', 1000]]);
    await vi.waitFor(() => expect(shop.health.details().components.provider).toEqual({ status: 'ok' }), {
      timeout: 10_000,
    });
  });

  test('of the key alone says so in the health details, without the key', async () => {
    const ask = askDirectly(provider.url, 'another-key-0123456789');
    start({ ask, patienceMs: 0, measureMs: 100 });
    const order = newId('ord');
    await shop.authorise(order);
    const reason = () => shop.health.details().components.provider?.reason;
    await vi.waitFor(() => expect(reason()).toContain('got 401 unauthorised (it does not know the api_key'), {
      timeout: 10_000,
    });
    expect(reason()).not.toContain('another-key');
    await Promise.all(workers.splice(0).map((worker) => worker.stop()));
    start({ measureMs: 100 });
    expect(await shop.settled(order)).toMatchObject({ status: 'authorised' });
  });

  test('of the provider that dies and comes back is no end', async () => {
    start();
    const order = newId('ord');
    await shop.authorise(order, 'tok_timeout');
    await vi.waitFor(async () => expect(await moved(order)).toHaveLength(1));
    await provider.restart();
    expect(await shop.settled(order)).toMatchObject({ status: 'authorised' });
    expect(await moved(order)).toEqual([['authorised', 1000]]);
  });

  test('answers lost at random, by seed: the books of both sides agree', async () => {
    for (const seed of [1, 2, 3]) {
      await provider.faults({ dropAnswers: 20, seed });
      start();
      const orders = await Promise.all(['tok_ok', 'tok_twice', 'tok_down', 'tok_ok'].map(walk));
      for (const order of orders) expect(await moved(order), `seed ${seed}`).toEqual(everything);
    }
  });
});

/** A worker in a process of its own, that is killed when it has got its answer; resolves when it is dead. */
async function workerThatDies(order: string): Promise<void> {
  const file = fileURLToPath(new URL('fixture-worker.ts', import.meta.url));
  const args = ['--import', 'tsx', file, shop.deps.database.url, provider.url, API_KEY, '1500'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout }))
    if (line.includes(order)) {
      child.kill('SIGKILL');
      break;
    }
  await ended;
}

describe('workers', () => {
  test('one is killed between the answer and its commit: another asks again, and is told the same', async () => {
    onWebhook = ignore;
    const order = newId('ord');
    await shop.authorise(order);
    // Holds the outcome back, so that the process dies with the answer in its hands.
    const held = Promise.withResolvers<void>();
    const holding = shop.eyes.begin(async (sql) => {
      await sql`SELECT FROM payments WHERE order_id = ${order} FOR UPDATE`;
      await workerThatDies(order);
      held.resolve();
    });
    await held.promise;
    await holding;
    expect(await moved(order)).toEqual([['authorised', 1000]]);
    expect(await shop.told(order)).toEqual([]);
    start({ webhooks: ignore });
    expect(await shop.settled(order)).toMatchObject({ status: 'authorised', operations: [{ attempts: 2 }] });
    expect(await moved(order)).toEqual([['authorised', 1000]]);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised']);
  });

  test('several at once never ask for the same at a time', async () => {
    const asking = new Map<string, number>();
    let most = 0;
    const ask = askDirectly(provider.url, API_KEY, 5000);
    const watched: AskProvider = async (operation) => {
      const now = (asking.get(operation.key) ?? 0) + 1;
      asking.set(operation.key, now);
      most = Math.max(most, now);
      try {
        return await ask(operation);
      } finally {
        asking.set(operation.key, (asking.get(operation.key) ?? 1) - 1);
      }
    };
    for (let i = 0; i < 3; i += 1) start({ ask: watched, leaseMs: 20_000, webhooks: ignore });
    const orders = Array.from({ length: 40 }, () => newId('ord'));
    await Promise.all(orders.map((order) => shop.authorise(order)));
    for (const order of orders) {
      expect(await shop.settled(order)).toMatchObject({ operations: [{ attempts: 1 }] });
      expect(await shop.told(order)).toEqual(['PaymentAuthorised']);
    }
    expect(most).toBe(1);
    const keys = (await provider.ledger()).map(({ key }) => key);
    expect(keys.filter((key) => orders.some((order) => key.startsWith(order)))).toHaveLength(40);
  });

  test('whose lease has run out while they wait: two ask under one key, and one outcome counts', async () => {
    for (let i = 0; i < 2; i += 1)
      start({ leaseMs: 100, ask: askDirectly(provider.url, API_KEY, 3000), webhooks: ignore });
    const order = newId('ord');
    await shop.authorise(order, 'tok_slow');
    const { operations } = await shop.settled(order);
    await sleep(800);
    expect(operations[0].attempts).toBeGreaterThan(1);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised']);
    expect(await moved(order)).toEqual([['authorised', 1000]]);
  });

  test('one that is stopped leaves what it had begun to the others at once', async () => {
    const first = start({ leaseMs: 60_000, ask: () => new Promise(() => {}), webhooks: ignore });
    const order = newId('ord');
    await shop.authorise(order);
    await vi.waitFor(async () => expect((await shop.paymentOf(order)).operations[0].attempts).toBe(1));
    await first.stop();
    workers.pop();
    start({ webhooks: ignore });
    expect(await shop.settled(order, 5000)).toMatchObject({ status: 'authorised' });
  });
});

describe('answer and webhook', () => {
  test('at the same moment, in an order by seed: one winner each time, and both win now and then', async () => {
    let answers = 0;
    let webhooks = 0;
    const random = fromSeed(11);
    const ask = askDirectly(provider.url, API_KEY, 5000);
    start({
      concurrency: 20,
      ask: async (operation) => {
        const outcome = await ask(operation);
        await sleep(random() * 150);
        // As the worker does, but told who was first.
        if (await settleOperation(shop.deps, operation, outcome)) answers += 1;
        return outcome;
      },
      webhooks: async ({ body, headers }) => {
        const event = ProviderEvent.parse(new Webhook(WEBHOOK_SECRET).verify(body, headers));
        await sleep(random() * 30);
        if ((await takeEvent(shop.deps, event)) === 'settled') webhooks += 1;
      },
    });
    const orders = Array.from({ length: 60 }, () => newId('ord'));
    await Promise.all(orders.map((order) => shop.authorise(order)));
    for (const order of orders) {
      await shop.settled(order);
      expect(await shop.told(order)).toEqual(['PaymentAuthorised']);
    }
    expect(answers + webhooks).toBe(60);
    expect(Math.min(answers, webhooks), `${answers} answers, ${webhooks} webhooks`).toBeGreaterThan(0);
  });

  test('both waiting for the payment’s lock: whoever is first in the queue wins, whatever the other says', async () => {
    onWebhook = ignore;
    for (const first of ['answer', 'webhook'] as const) {
      const order = newId('ord');
      await shop.authorise(order);
      const key = `${order}.authorise`;
      const operation = await findOperation(shop.deps.database.db, key);
      if (!operation) throw new Error('no operation');
      const said = { key, kind: 'authorise' as const, authorisation_id: 'auth_1', amount: 1000 };
      const yes = () => settleOperation(shop.deps, operation, toOutcome({ ...said, state: 'succeeded' }));
      const no = () =>
        takeEvent(shop.deps, {
          type: 'authorise.refused',
          timestamp: '',
          data: { ...said, state: 'refused', reason: 'no' },
        });
      const racers = first === 'answer' ? [yes, no] : [no, yes];
      const results = await shop.eyes
        .begin(async (sql) => {
          await sql`SELECT FROM payments WHERE order_id = ${order} FOR UPDATE`;
          const running: Promise<unknown>[] = [];
          for (const [index, racer] of racers.entries()) {
            running.push(racer());
            await shop.blocked(index + 1);
          }
          return running;
        })
        .then((running) => Promise.all(running));
      expect(results).toEqual(first === 'answer' ? [true, 'known'] : ['settled', false]);
      expect(await shop.told(order)).toEqual([first === 'answer' ? 'PaymentAuthorised' : 'PaymentDeclined']);
    }
  });

  test('a webhook that comes again, or long after the answer, changes nothing', async () => {
    const seen: ReceivedWebhook[] = [];
    start({
      webhooks: async (webhook) => {
        seen.push(webhook);
      },
    });
    const order = newId('ord');
    await shop.authorise(order);
    await shop.settled(order);
    const own = () => seen.filter(({ body }) => body.includes(order));
    await vi.waitFor(() => expect(own()).toHaveLength(1));
    const [webhook] = own() as [ReceivedWebhook];
    await shop.capture(order);
    await shop.settled(order);
    for (let time = 0; time < 3; time += 1) expect((await handIn(webhook)).status).toBe(204);
    expect(await shop.told(order)).toEqual(['PaymentAuthorised', 'PaymentCaptured']);
    expect(await shop.paymentOf(order)).toMatchObject({ status: 'captured' });
  });

  test('a webhook of what nobody asked for is taken and forgotten; one with another amount is refused', async () => {
    onWebhook = ignore;
    const order = newId('ord');
    await shop.authorise(order);
    const tell = (key: string, amount: number) => {
      const data = { key, kind: 'authorise', authorisation_id: 'auth_1', amount, state: 'succeeded' };
      const body = JSON.stringify({ type: 'authorise.succeeded', timestamp: new Date().toISOString(), data });
      const at = new Date();
      return shop.webhook(body, {
        'webhook-id': 'msg_1',
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(WEBHOOK_SECRET).sign('msg_1', at, body),
      });
    };
    expect((await tell(`${newId('ord')}.authorise`, 1000)).status).toBe(204);
    expect(await tell(`${order}.authorise`, 1)).toMatchObject({
      status: 409,
      body: { code: 'webhook_contradicts' },
    });
    expect(await shop.paymentOf(order)).toMatchObject({ status: 'authorising' });
    expect((await tell(`${order}.authorise`, 1000)).status).toBe(204);
    expect(await shop.paymentOf(order)).toMatchObject({ status: 'authorised' });
  });
});

/** The same numbers for the same seed. */
function fromSeed(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}
