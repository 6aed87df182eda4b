import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Envelope } from '@sidecart/contracts/envelope';
import { buildEnvelope, receivedEnvelope } from '@sidecart/messaging/envelope';
import { expect, test } from 'vitest';
import { missingSamples, sampleFault, sampleFaults } from './samples.ts';
import { loadTopology } from './topology.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const placed = JSON.parse(readFileSync(join(root, 'packages/contracts/samples/OrderPlaced.v1.json'), 'utf8'));
const faultOf = (change: object) => sampleFault(JSON.stringify({ ...placed, ...change }));

test('there is a sample of every message, and today it can be read', () => {
  expect(missingSamples(root, loadTopology(join(root, 'topology.yaml')))).toEqual([]);
  expect(sampleFaults(root)).toEqual([]);
});

test('what the first readers did not know is ignored', () => {
  expect(faultOf({ new: 1, data: { ...placed.data, gift: true } })).toBeUndefined();
});

test('a sample that today breaks its schema is found', () => {
  expect(faultOf({ data: { ...placed.data, total: undefined } })).toMatch(/^breaks OrderPlaced: total/);
  expect(sampleFault('<<<<<<< HEAD')).toBe('is no JSON');
  expect(faultOf({ sequence: 1 })).toMatch(/^breaks the envelope: sequence/);
  expect(faultOf({ type: 'OrderPlacd' })).toMatch(/no longer in/);
  expect(faultOf({ partitionkey: 'x' })).toMatch(/partitionkey x instead of ord_/);
});

test('the code that sends and receives keeps to the same envelope', () => {
  const {
    specversion,
    id,
    source,
    type,
    datacontenttype,
    dataschema,
    partitionkey,
    sequence,
    data,
    ...headers
  } = placed;
  const sent = buildEnvelope('orders', {
    topic: 'orders',
    msgKey: partitionkey,
    eventId: id,
    keySeq: sequence,
    type,
    payload: data,
    headers,
  });
  expect(sent).toEqual(placed);
  expect(Envelope.strict().safeParse(sent).error).toBeUndefined();
  expect(receivedEnvelope.safeParse(placed).error).toBeUndefined();
});
