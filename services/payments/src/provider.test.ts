import { DaprError, type InvokeRequest } from '@sidecart/kit/dapr';
import { describe, expect, test } from 'vitest';
import { createAskProvider, inShort, UnknownOutcomeError } from './provider.ts';
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
function asked(body: string, status = 201, operation = CAPTURE) {
  const asks: InvokeRequest[] = [];
  const invoke = async (_: string, request: InvokeRequest) => {
    asks.push(request);
    return { status, headers: new Headers(), body, json: () => JSON.parse(body) };
  };
  const ask = createAskProvider({ dapr: { invoke }, name: 'provider', apiKey: 'secret', timeoutMs: 1000 });
  return { asks, outcome: ask(operation) };
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

describe('what is said of a question in vain has the status and the code of the answer, and no text', () => {
  test.each([
    [503, { error: 'unavailable' }, '503 unavailable'],
    [500, { code: 'E_42', error: 'sorry, Bearer secret is odd' }, '500 E_42'],
    [500, { error: 'sorry, Bearer secret is odd' }, '500'],
    [502, '<html>', '502'],
    [401, { error: 'unauthorised' }, '401 unauthorised (it does not know the api_key'],
    [403, {}, '403 (it does not know the api_key'],
  ])('%i %j', async (status, body, said) => {
    const err = await asked(JSON.stringify(body), status).outcome.catch((reason) => reason);
    const short = inShort(err);
    expect(short.slice(0, said.length)).toBe(said);
    expect(short.includes('(')).toBe(said.includes('('));
    expect(short).not.toContain('secret');
    expect(err.message).toContain(short);
  });

  test('or that nobody was asked, for want of an authorisation', async () => {
    const { asks, outcome } = asked(JSON.stringify(DONE), 201, { ...CAPTURE, authorisationId: null });
    const err = await outcome.catch((reason) => reason);
    expect(err).toBeInstanceOf(UnknownOutcomeError);
    expect(inShort(err)).toBe('no question at all, as payments knows no authorisation for it');
    expect(asks).toEqual([]);
  });

  test('or that there was none', () => {
    expect(inShort(new DaprError('timeout', 'http://127.0.0.1: no answer'))).toBe('no answer (timeout)');
    expect(inShort(new Error('oops'))).toBe('an error of payments, which its log has');
  });
});
