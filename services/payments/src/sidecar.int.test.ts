import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { newTraceparent, runInContext } from '@sidecart/kit/context';
import { createDapr, type Dapr } from '@sidecart/kit/dapr';
import { newId } from '@sidecart/kit/ids';
import { expect, onTestFinished, test } from 'vitest';
import { parseTopology, patienceWith } from '../../../generator/topology.ts';
import { API_KEY, startTestProvider } from '../../../provider/testing.ts';
import { type Change, openSidecarRig } from '../../../tests/brokers/sidecar-rig.ts';
import { createAskProvider } from './provider.ts';
import type { ClaimedOperation } from './store.ts';
import { openPayments } from './testing.ts';

// The way to the provider through a real sidecar, with the HTTPEndpoint and the Resiliency that the generator makes.

const TABLE = `
namespace: shop
broker: jetstream
services:
  gateway: { port: 8080, database: false, replicas: 1, edge: true }
  payments: { port: 8104, database: true, replicas: 1 }
external:
  provider: { used_by: [payments], timeout: 500ms, retries: 1, secret: [api_key], simulator: { port: 8190 } }
`;
const [external] = parseTopology(TABLE).externals;
if (!external) throw new Error('the table has no external API');
const patienceMs = patienceWith(external);
const API_TOKEN = 'test-api-token-0123456789';

interface Asked {
  at: number;
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}
type Answer = { status: number; body?: object } | 'silence' | 'hang-up';

/** Stands for the provider, and keeps what it was asked. */
async function outside(
  answer: (asked: Asked, before: number) => Answer,
): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const one = {
      at: performance.now(),
      method: req.method ?? '',
      url: req.url ?? '',
      headers: req.headers,
      body,
    };
    const said = answer(one, asked.push(one) - 1);
    if (said === 'silence') return;
    if (said === 'hang-up') return void res.destroy();
    res.writeHead(said.status, { 'content-type': 'application/json' }).end(JSON.stringify(said.body ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** @param changes of what is generated, for controls */
async function sidecarOf(app: string, baseUrl: string, ...changes: Change[]): Promise<Dapr> {
  const rig = await openSidecarRig({ table: TABLE, broker: 'jetstream', changes });
  const sidecar = await rig.startSidecar(app, {
    broker: {},
    // As in every mode of running the shop: a sidecar that demands one takes it off, any other hands it on to the outside.
    apiToken: API_TOKEN,
    secrets: { 'payments-provider': { api_key: API_KEY } },
    externals: [{ name: 'provider', users: ['payments'], baseUrl }],
    ready: 'healthz/outbound',
  });
  return createDapr({ httpPort: sidecar.http, apiToken: API_TOKEN });
}

const operation: ClaimedOperation = {
  key: 'ord_1.authorise',
  position: 1n,
  paymentId: 'pay_1',
  orderId: 'ord_1',
  kind: 'authorise',
  refundId: null,
  ask: 1,
  amount: 1000,
  token: 'tok_ok',
  state: 'pending',
  reason: null,
  attempts: 1,
  dueAt: new Date(),
  context: null,
  requestedAt: new Date(),
  settledAt: null,
  authorisationId: null,
};
const done = {
  status: 201,
  body: {
    key: operation.key,
    kind: 'authorise',
    authorisation_id: 'auth_1',
    amount: 1000,
    state: 'succeeded',
  },
};
const askThrough = (dapr: Dapr) =>
  createAskProvider({ dapr, name: 'provider', apiKey: API_KEY, timeoutMs: patienceMs });

test('the sidecar finds the provider by its name, and adds nothing that is the shop’s own business', async () => {
  const { url, asked } = await outside(() => done);
  const ask = askThrough(await sidecarOf('payments', `${url}/api`));
  expect(await ask(operation)).toEqual({ state: 'succeeded', authorisationId: 'auth_1' });
  expect(asked).toHaveLength(1);
  const [{ method, url: path, headers, body }] = asked as [Asked];
  expect([method, path]).toEqual(['POST', '/api/v1/authorisations']);
  expect(JSON.parse(body)).toEqual({ reference: 'ord_1', amount: 1000, currency: 'GBP', token: 'tok_ok' });
  expect(headers).toMatchObject({
    authorization: `Bearer ${API_KEY}`,
    'idempotency-key': operation.key,
    'content-type': 'application/json',
  });
  const told = Object.keys(headers).filter((name) => /sidecart|request-id|api-token/.test(name));
  expect(told).toEqual([]);
});

test('control: asked for within a request, the provider would be told who asks', async () => {
  const { url, asked } = await outside(() => done);
  const ask = askThrough(await sidecarOf('payments', url));
  await runInContext({ traceparent: newTraceparent(), requestId: 'r', actor: 'root' }, () => ask(operation));
  expect(asked[0]?.headers['x-sidecart-actor']).toBe('root');
});

test('the sidecar repeats once what was not worked on, byte for byte, and nothing that is an answer', async () => {
  let refusal: Answer | undefined;
  const { url, asked } = await outside((_, before) => refusal ?? (before === 0 ? { status: 503 } : done));
  const ask = askThrough(await sidecarOf('payments', url));
  expect(await ask(operation)).toMatchObject({ state: 'succeeded' });
  expect(asked).toHaveLength(2);
  const [first, second] = asked as [Asked, Asked];
  expect(second.body).toBe(first.body);
  expect(second.headers['idempotency-key']).toBe(first.headers['idempotency-key']);

  for (const status of [400, 401, 402, 404, 409, 422, 429, 500]) {
    asked.length = 0;
    refusal = { status, body: { ...done.body, state: 'refused', reason: 'no' } };
    expect(await ask(operation)).toEqual({ state: 'refused', reason: 'no' });
    expect(asked).toHaveLength(1);
  }
});

test('an attempt ends after the time in the table, and so do all of them', async () => {
  const { url, asked } = await outside(() => 'silence');
  const ask = askThrough(await sidecarOf('payments', url));
  const since = performance.now();
  await expect(ask(operation)).rejects.toMatchObject({ name: 'DaprError', kind: 'timeout' });
  const took = performance.now() - since;
  expect(asked).toHaveLength(2);
  expect(took).toBeGreaterThan(2 * external.timeoutMs);
  expect(took).toBeLessThan(patienceMs);
});

test.each([
  ['hangs up', async () => (await outside(() => 'hang-up')).url],
  ['is away', async () => 'http://127.0.0.1:9'],
])('one that %s is no answer', async (_, address) => {
  const ask = askThrough(await sidecarOf('payments', await address()));
  await expect(ask(operation)).rejects.toMatchObject({ name: 'DaprError', kind: 'unavailable' });
});

test('one that answers with something else is no answer either', async () => {
  const { url } = await outside((_, before) =>
    before === 0 ? { status: 200, body: { hello: 'world' } } : { ...done, body: { ...done.body, amount: 1 } },
  );
  const ask = askThrough(await sidecarOf('payments', url));
  await expect(ask(operation)).rejects.toThrow(/says nothing about/);
  await expect(ask(operation)).rejects.toThrow(/instead of 1000/);
});

test('no other sidecar knows the provider', async () => {
  const { url, asked } = await outside(() => done);
  await expect(askThrough(await sidecarOf('gateway', url))(operation)).rejects.toMatchObject({
    name: 'DaprError',
  });
  expect(asked).toEqual([]);
});

test('control: without the target of the Resiliency nothing is repeated, and nothing ends', async () => {
  const { url, asked } = await outside((_, before) => (before === 0 ? { status: 503 } : 'silence'));
  const target = `    apps:
      provider:
        timeout: external-provider
        retry: external-provider
`;
  const dapr = await sidecarOf('payments', url, [target, '']);
  const ask = askThrough(dapr);
  await expect(ask(operation)).rejects.toThrow(/answered 503/);
  expect(asked).toHaveLength(1);
  const since = performance.now();
  await expect(ask(operation)).rejects.toMatchObject({ kind: 'timeout' });
  expect(performance.now() - since).toBeGreaterThan(patienceMs - 50);
});

test('the whole way: worker, sidecar, simulator; answers that are lost and ones that never come', async () => {
  const shop = await openPayments();
  const provider = await startTestProvider();
  onTestFinished(async () => {
    await provider.kill();
    await shop.close();
  });
  const worker = shop.worker(askThrough(await sidecarOf('payments', provider.url)), { leaseMs: 10_000 });
  onTestFinished(() => worker.stop());
  await provider.faults({ dropAnswers: 6, seed: 3 });
  for (const token of ['tok_ok', 'tok_timeout', 'tok_down']) {
    const order = newId('ord');
    await shop.authorise(order, token);
    await shop.settled(order);
    await shop.capture(order);
    await shop.settled(order);
    await shop.refund(order, 400);
    expect(await shop.settled(order)).toMatchObject({ refunded: { amount: 400 } });
    expect((await provider.ledger(order)).map(({ kind, amount }) => [kind, amount])).toEqual([
      ['authorised', 1000],
      ['captured', 1000],
      ['refunded', 400],
    ]);
  }
});
