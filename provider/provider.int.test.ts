import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, onTestFinished, test, vi } from 'vitest';
import { receiveWebhooks, startTestProvider, type TestProvider, WEBHOOK_SECRET } from './testing.ts';

async function provider(o: Parameters<typeof startTestProvider>[0] = {}): Promise<TestProvider> {
  const started = await startTestProvider(o);
  onTestFinished(() => started.kill());
  return started;
}

const authorise = (p: TestProvider, token = 'tok_ok', key: string = randomUUID(), reference = key) =>
  p.ask(
    'POST',
    '/v1/authorisations',
    { reference, amount: 1000, currency: 'GBP', token },
    { 'idempotency-key': key },
  );

test('holds, takes and gives back money, each movement once in its ledger', async () => {
  const p = await provider();
  const held = await authorise(p, 'tok_ok', 'k1', 'ord_1');
  expect(held).toMatchObject({ status: 201, body: { state: 'succeeded', key: 'k1' } });
  const on = `/v1/authorisations/${held.body.authorisation_id}`;
  const key = (name: string) => ({ 'idempotency-key': name });
  for (let time = 0; time < 2; time += 1) {
    expect((await p.ask('POST', `${on}/capture`, { amount: 800 }, key('k2'))).status).toBe(201);
    expect((await p.ask('POST', `${on}/refunds`, { amount: 300, reference: 'r1' }, key('k3'))).status).toBe(
      201,
    );
  }
  expect((await p.ask('POST', `${on}/void`, undefined, key('k4'))).body).toMatchObject({ state: 'refused' });
  expect((await p.ledger('ord_1')).map(({ kind, amount }) => [kind, amount])).toEqual([
    ['authorised', 1000],
    ['captured', 800],
    ['refunded', 300],
  ]);
  expect((await p.ask('GET', '/v1/operations/k2')).body).toMatchObject({ kind: 'capture', amount: 800 });
});

test('asks for its key, for an idempotency key, and for what it understands', async () => {
  const p = await provider();
  const body = { reference: 'x', amount: 1, currency: 'GBP', token: 'tok_ok' };
  const ask = (body: unknown, headers: Record<string, string>) =>
    p.ask('POST', '/v1/authorisations', body, headers);
  expect((await ask(body, { authorization: 'Bearer other' })).status).toBe(401);
  expect((await ask(body, {})).status).toBe(400);
  expect((await ask({ ...body, amount: 1.5 }, { 'idempotency-key': 'a' })).status).toBe(422);
  expect((await ask(body, { 'idempotency-key': 'a' })).status).toBe(201);
  expect((await ask({ ...body, amount: 2 }, { 'idempotency-key': 'a' })).body).toEqual({
    error: 'idempotency_key_reused',
  });
  expect(await p.ledger()).toHaveLength(1);
});

test('remembers through its own death', async () => {
  const p = await provider();
  const { body } = await authorise(p, 'tok_ok', 'k1');
  await p.restart();
  expect((await authorise(p, 'tok_ok', 'k1')).body).toEqual(body);
  expect(await p.ledger()).toHaveLength(1);
});

test('signs its webhooks, and sends one again until it is taken', async () => {
  const hook = await receiveWebhooks((_, before) => (before === 0 ? 500 : 204));
  const p = await provider({ webhookUrl: hook.url });
  await authorise(p, 'tok_ok', 'k1');
  await vi.waitFor(() => expect(hook.received).toHaveLength(2), { timeout: 5000 });
  const [first, second] = hook.received as [(typeof hook.received)[0], (typeof hook.received)[0]];
  expect(second.headers['webhook-id']).toBe(first.headers['webhook-id']);
  for (const { body, headers } of hook.received)
    expect(new Webhook(WEBHOOK_SECRET).verify(body, headers)).toMatchObject({
      type: 'authorise.succeeded',
      data: { key: 'k1', state: 'succeeded', amount: 1000 },
    });
  expect(() =>
    new Webhook(WEBHOOK_SECRET).verify(first.body.replace('1000', '1001'), first.headers),
  ).toThrow();
});

test('each token has its mishap, and moves the money once all the same', async () => {
  const hook = await receiveWebhooks();
  const p = await provider({ webhookUrl: hook.url, slowMs: 300, lateMs: 600 });
  const webhooksOf = (key: string) => hook.received.filter(({ body }) => body.includes(`"key":"${key}"`));
  const statusOf = (token: string) =>
    authorise(p, token, token).then(
      ({ status }) => status,
      () => 'lost' as const,
    );
  const silent = (token: string) =>
    Promise.race([statusOf(token), new Promise((done) => setTimeout(done, 800, 'silence'))]);

  const since = performance.now();
  expect(await statusOf('tok_slow')).toBe(201);
  expect(performance.now() - since).toBeGreaterThan(290);
  expect(await statusOf('tok_declined')).toBe(402);
  for (const status of [503, 503, 503, 201]) expect(await statusOf('tok_down')).toBe(status);
  expect(await silent('tok_timeout')).toBe('silence');
  expect(await statusOf('tok_timeout')).toBe(201);
  expect(await statusOf('tok_late')).toBe('lost');
  expect(await statusOf('tok_late')).toBe('lost');
  expect(webhooksOf('tok_late')).toHaveLength(0);
  await vi.waitFor(() => expect(webhooksOf('tok_late')).toHaveLength(1), { timeout: 3000 });
  await vi.waitFor(async () => expect(await statusOf('tok_late')).toBe(201));
  expect(await statusOf('tok_twice')).toBe(201);
  await vi.waitFor(() => expect(webhooksOf('tok_twice')).toHaveLength(2), { timeout: 3000 });

  const moved = (await p.ledger()).map(({ key }) => key).sort();
  expect(moved).toEqual(['tok_down', 'tok_late', 'tok_slow', 'tok_timeout', 'tok_twice']);
});

test('faults: down works on nothing; answers that are lost, the same ones for the same seed', async () => {
  const p = await provider();
  const outcome = (key: string) =>
    authorise(p, 'tok_ok', key).then(
      ({ status }) => status,
      () => 'lost' as const,
    );
  await p.faults({ down: true });
  expect(await outcome('a')).toBe(503);
  expect(await p.ledger()).toEqual([]);

  const round = async (name: string) => {
    await p.faults({ dropAnswers: 5, seed: 7 });
    const outcomes: unknown[] = [];
    for (let i = 0; i < 12; i += 1) outcomes.push(await outcome(`${name}${i}`));
    return outcomes;
  };
  const first = await round('x');
  expect(first.filter((one) => one === 'lost')).toHaveLength(5);
  expect(await round('y')).toEqual(first);
  expect(await p.ledger()).toHaveLength(24);
  await p.faults({});
  expect(await outcome('z')).toBe(201);
  expect((await p.ask('PUT', '/faults', { nonsense: 1 })).status).toBe(422);
});
