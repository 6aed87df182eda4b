import { describe, expect, test } from 'vitest';
import { buildEnvelope, receivedEnvelope } from './envelope.ts';
import { OUTBOX_SLOTS, slotOf } from './slot.ts';

const stored = {
  topic: 'orders',
  msgKey: 'ord_1',
  eventId: '0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42',
  keySeq: '3',
  type: 'OrderPlaced',
  payload: { order_id: 'ord_1' },
  headers: {
    time: '2026-03-14T09:26:53.589Z',
    correlationid: 'req-1',
    actor: 'anonymous',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  },
};

describe('the envelope', () => {
  test('is a CloudEvent whose attribute names are lower-case alphanumeric', () => {
    const event = buildEnvelope('orders', stored);
    expect(event).toEqual({
      specversion: '1.0',
      id: stored.eventId,
      source: '/sidecart/orders',
      type: 'OrderPlaced',
      datacontenttype: 'application/json',
      dataschema: '/schemas/OrderPlaced.json',
      partitionkey: 'ord_1',
      sequence: '3',
      ...stored.headers,
      data: stored.payload,
    });
    for (const name of Object.keys(event)) expect(name).toMatch(/^[a-z0-9]{1,20}$/);
    expect(event).not.toHaveProperty('traceid');
  });

  test('is read back as it was built', () => {
    const event = JSON.parse(JSON.stringify(buildEnvelope('orders', stored)));
    expect(receivedEnvelope.parse(event)).toMatchObject({
      id: stored.eventId,
      sequence: '3',
      actor: 'anonymous',
    });
  });

  test('with a number that is none is refused for that, whatever is there instead', () => {
    const event = buildEnvelope('orders', stored);
    for (const sequence of ['x', '', '-5', '0', '1e3', '9223372036854775808', `1${'0'.repeat(30)}`])
      expect(receivedEnvelope.safeParse({ ...event, sequence }).error?.issues, sequence).toMatchObject([
        { path: ['sequence'], message: 'Expected a positive 64-bit number as a string' },
      ]);
  });

  test('is read tolerantly: what is optional and unusable counts as absent', () => {
    const minimal = { specversion: '1.0', id: 'x', type: 'T', partitionkey: 'k', sequence: '1', data: null };
    expect(receivedEnvelope.parse({ ...minimal, actor: 7, traceparent: '', future: {} })).toMatchObject({
      id: 'x',
    });
    for (const broken of [
      { sequence: '0' },
      { sequence: 1 },
      { id: '' },
      { id: 'a\0b' },
      { specversion: '0.3' },
    ]) {
      expect(receivedEnvelope.safeParse({ ...minimal, ...broken }).success, JSON.stringify(broken)).toBe(
        false,
      );
    }
  });
});

test('a key has the same slot for ever', () => {
  expect(['', 'a', 'ord_1', 'ä'].map(slotOf)).toEqual([0, 3, 11, 3]);
  const used = new Set(Array.from({ length: 500 }, (_, i) => slotOf(`ord_${i}`)));
  expect(used.size).toBe(OUTBOX_SLOTS);
});
