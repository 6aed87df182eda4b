import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { type Ask, createGateway, GatewayUnreachableError, RefusedError, read } from './gateway-client.ts';

const ASK: Ask = { method: 'POST', path: '/v1/orders', key: 'k-1', body: { lines: [] } };

/** Answers with these, one after the other, the last for ever; returns what was asked. */
function answering(...answers: (Response | Error)[]) {
  const asked: { url: string; headers: Record<string, string>; body: unknown }[] = [];
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push({ url, headers: init.headers as Record<string, string>, body: init.body });
    init.signal?.throwIfAborted();
    const answer = answers[Math.min(asked.length, answers.length) - 1] as Response | Error;
    if (answer instanceof Error) throw answer;
    return answer.clone();
  });
  return asked;
}

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers });
const gateway = (patienceMs = 5_000, signal = new AbortController().signal) =>
  createGateway({ url: 'http://shop', signal, patienceMs });

afterEach(() => vi.unstubAllGlobals());

describe('a request', () => {
  test('carries its JSON and its idempotency key, and gives the parsed answer', async () => {
    const asked = answering(json(201, { id: 'ord_1' }, { location: '/v1/orders/ord_1' }));
    const answer = await gateway().send(ASK);
    expect(answer).toMatchObject({ status: 201, body: { id: 'ord_1' }, attempts: 1 });
    expect(answer.headers.get('location')).toBe('/v1/orders/ord_1');
    expect(asked).toEqual([
      {
        url: 'http://shop/v1/orders',
        headers: { accept: 'application/json', 'content-type': 'application/json', 'idempotency-key': 'k-1' },
        body: '{"lines":[]}',
      },
    ]);
  });

  test.each([
    ['503', json(503, {})],
    ['429', json(429, {})],
    ['422 with Retry-After', json(422, {}, { 'retry-after': '0.01' })],
    ['a refused connection', new TypeError('fetch failed')],
    ['a broken connection', new TypeError('terminated')],
  ])('is repeated with the same key after %s', async (_, first) => {
    const asked = answering(first, json(201, {}));
    expect(await gateway().send(ASK)).toMatchObject({ status: 201, attempts: 2 });
    expect(asked.map((one) => one.headers['idempotency-key'])).toEqual(['k-1', 'k-1']);
  });

  test('is not repeated sooner than the shop asks for', async () => {
    answering(json(503, {}, { 'retry-after': '0.4' }), json(200, {}));
    const start = performance.now();
    await gateway().send(ASK);
    expect(performance.now() - start).toBeGreaterThan(395);
  });

  test.each([400, 404, 409, 422, 500])('is not repeated after a plain %d', async (status) => {
    const asked = answering(json(status, {}));
    expect(await gateway().send(ASK)).toMatchObject({ status });
    expect(asked).toHaveLength(1);
  });

  test('ends with the last answer when patience does', async () => {
    answering(json(503, { code: 'overloaded' }));
    expect(await gateway(250).send(ASK)).toMatchObject({ status: 503, body: { code: 'overloaded' } });
    answering(new TypeError('fetch failed'));
    await expect(gateway(250).send(ASK)).rejects.toThrow(GatewayUnreachableError);
  });

  test('ends at once when interrupted, also while it waits', async () => {
    answering(json(503, {}, { 'retry-after': '5' }));
    const controller = new AbortController();
    const sending = gateway(60_000, controller.signal).send(ASK);
    setTimeout(() => controller.abort(new Error('stopped')), 20);
    const start = performance.now();
    await expect(sending).rejects.toThrow();
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('an answer', () => {
  const answer = (status: number, body: unknown) => ({ status, headers: new Headers(), body, attempts: 1 });
  const Schema = z.object({ id: z.string() });

  test('is read by its schema', () => {
    expect(read(ASK, answer(201, { id: 'a', more: 1 }), Schema, 200, 201)).toEqual({ id: 'a' });
  });

  test('that is a problem is told in words', () => {
    const problem = {
      type: '/problems/validation_failed',
      code: 'validation_failed',
      title: 'The request is not valid',
      errors: [{ pointer: '/lines', code: 'too_small', detail: 'Expected at least one' }],
    };
    const reading = () => read(ASK, answer(422, problem), Schema, 201);
    expect(reading).toThrow(RefusedError);
    expect(reading).toThrow(
      'POST /v1/orders answered 422 validation_failed: The request is not valid. /lines: Expected at least one.',
    );
  });

  test('that is no problem document either is told by its status', () => {
    expect(() => read(ASK, answer(502, '<html>'), Schema, 201)).toThrow('POST /v1/orders answered 502');
  });

  test('of another shape is told, not passed on', () => {
    expect(() => read(ASK, answer(201, { id: 1 }), Schema, 201)).toThrow('something else than expected');
  });
});
