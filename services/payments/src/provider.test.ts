import type { InvokeRequest } from '@sidecart/kit/dapr';
import { describe, expect, test } from 'vitest';
import { createAskProvider, UnknownOutcomeError } from './provider.ts';
import type { ClaimedOperation } from './store.ts';

// What counts as an answer about an operation. What a proxy, or a provider with a fault of its own, says besides must decide nothing.

const CAPTURE = {
  key: 'ord_1.capture',
  kind: 'capture',
  orderId: 'ord_1',
  amount: 895,
  authorisationId: 'auth_1',
} as ClaimedOperation;
const DONE = {
  key: CAPTURE.key,
  kind: CAPTURE.kind,
  authorisation_id: 'auth_1',
  amount: 895,
  state: 'succeeded',
};

/** Asks for the capture, of one who answers this. */
function asked(body: string, status = 201) {
  const asks: InvokeRequest[] = [];
  const invoke = async (_: string, request: InvokeRequest) => {
    asks.push(request);
    return { status, headers: new Headers(), body, json: () => JSON.parse(body) };
  };
  const ask = createAskProvider({ dapr: { invoke }, name: 'provider', apiKey: 'secret', timeoutMs: 1000 });
  return { asks, outcome: ask(CAPTURE) };
}

test('an operation is asked for under its key, and the answer that names it counts', async () => {
  const { asks, outcome } = asked(JSON.stringify(DONE));
  expect(await outcome).toEqual({ state: 'succeeded', authorisationId: 'auth_1' });
  expect(asks).toMatchObject([
    {
      path: '/v1/authorisations/auth_1/capture',
      body: { amount: 895 },
      headers: { 'idempotency-key': CAPTURE.key },
    },
  ]);
});

test('a refusal is an answer, whatever its status', async () => {
  const refused = { ...DONE, state: 'refused', reason: 'expired' };
  expect(await asked(JSON.stringify(refused), 402).outcome).toEqual({ state: 'refused', reason: 'expired' });
});

describe('nobody knows the outcome', () => {
  test.each([
    ['of another operation', JSON.stringify({ ...DONE, key: 'ord_2.capture' })],
    ['of another kind', JSON.stringify({ ...DONE, kind: 'void' })],
    ['with another amount than was asked for', JSON.stringify({ ...DONE, amount: 894 })],
    ['without an outcome', JSON.stringify({ ...DONE, state: 'processing' })],
    ['that is no JSON', '<html>Bad gateway</html>'],
  ])('by an answer %s', async (_, body) => {
    await expect(asked(body).outcome).rejects.toThrow(UnknownOutcomeError);
  });
});
