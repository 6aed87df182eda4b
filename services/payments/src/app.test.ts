import { catalog } from '@sidecart/contracts/catalog';
import { callJson, testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { createPaymentsApp } from './app.ts';
import { openApiDocument } from './openapi.ts';
import { readProviderSecret } from './provider-secret.ts';
import { subscriptions } from './subscriptions.ts';

const deps = testDeps('payments');
const database = untouchedDatabase();
const outbox = createOutbox({ service: 'payments', catalog, owns: [] });
const clock = () => new Date();
const consumer = createConsumer({ ...deps, database, topics: subscriptions(outbox, clock) });
const webhookSecret = `whsec_${Buffer.from('a secret that both sides know').toString('base64')}`;
const app = createPaymentsApp(deps, { database, outbox, clock, consumer, webhookSecret });

const event = JSON.stringify({
  type: 'capture.succeeded',
  timestamp: '2026-03-14T09:26:53.589Z',
  data: { key: 'k', kind: 'capture', authorisation_id: 'a', amount: 1, state: 'succeeded' },
});

function signed(body: string, o: { secret?: string; at?: Date; id?: string } = {}): Record<string, string> {
  const { secret = webhookSecret, at = new Date(), id = 'msg_1' } = o;
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
}

const send = (body: string, headers: Record<string, string>) =>
  callJson(app, 'POST', '/v1/payments/webhooks', body, headers);
const without = (name: string) => ({ ...signed(event), [name]: '' });
const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

// The database fails the test when it is touched.
describe('a webhook is refused before anything is looked up', () => {
  const other = `whsec_${Buffer.from('a secret that one side made up').toString('base64')}`;
  test.each<[string, string, Record<string, string>]>([
    ['that is not signed', event, { 'content-type': 'application/json' }],
    ['that is signed by somebody else', event, signed(event, { secret: other })],
    ['with another body than was signed', event.replace('"amount":1', '"amount":9'), signed(event)],
    ['with a space more than was signed', `${event} `, signed(event)],
    ['under another id', event, { ...signed(event), 'webhook-id': 'msg_2' }],
    ['with another time', event, { ...signed(event), 'webhook-timestamp': '1773480413' }],
    ['from six minutes ago', event, signed(event, { at: minutesAgo(6) })],
    ['from the future', event, signed(event, { at: minutesAgo(-6) })],
    ['without an id', event, without('webhook-id')],
    ['without a time', event, without('webhook-timestamp')],
    ['without a signature', event, without('webhook-signature')],
    ['with a signature that is none', event, { ...signed(event), 'webhook-signature': 'v1,nonsense' }],
    ['of no shape, when it is not signed either', '{"what":1}', { 'content-type': 'application/json' }],
  ])('one %s', async (_, body, headers) => {
    const answer = await send(body, headers);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code]).toEqual([401, 'webhook_signature_invalid']);
  });

  test('one that is signed, but of no shape, is told what is wrong with it', async () => {
    const body = '{"type":"x","timestamp":"y","data":{"kind":"theft"}}';
    const answer = await send(body, signed(body));
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
  });

  test('control: one that is signed and of the right shape gets to the database', async () => {
    expect((await send(event, signed(event))).status).toBe(500);
    expect((await send(event, signed(event, { at: minutesAgo(4) }))).status).toBe(500);
  });
});

describe('refused before anything is read', () => {
  test.each([
    ['an id of no shape', '/v1/payments/pay_1', 'path:id'],
    ['an order of no shape', '/v1/payments?order_id=1', 'query:order_id'],
    ['an unknown query parameter', '/v1/payments?offset=1', 'query:offset'],
  ])('%s', async (_, path, pointer) => {
    const answer = await callJson(app, 'GET', path);
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
    expect(answer.body.errors[0].pointer).toBe(pointer);
  });
});

test('the OpenAPI document has every operation', () => {
  expect(Object.keys(openApiDocument().paths ?? {})).toEqual([
    '/v1/payments',
    '/v1/payments/{id}',
    '/v1/payments/webhooks',
  ]);
});

describe('what is known of the provider', () => {
  const values = { api_key: 'k'.repeat(16), webhook_secret: webhookSecret };
  test('is read from its Secret', () => {
    expect(readProviderSecret('payments-provider', values)).toEqual({
      apiKey: values.api_key,
      webhookSecret,
    });
  });

  test.each([
    [{ webhook_secret: webhookSecret }, /has no key api_key/],
    [{ ...values, api_key: 'short' }, /key api_key is to be/],
    [{ ...values, webhook_secret: 'nothing-of-the-kind' }, /key webhook_secret is to be whsec_/],
  ])('a fault names the key, and no value', (given, fault) => {
    const read = () => readProviderSecret('payments-provider', given as Record<string, string>);
    expect(read).toThrow(fault);
    expect(read).not.toThrow(/short|nothing-of-the-kind/);
  });
});
