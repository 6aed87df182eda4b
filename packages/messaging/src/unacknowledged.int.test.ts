import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { createDapr } from '@sidecart/kit/dapr';
import { testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { CloudEvent } from './envelope.ts';
import { eventually, type Fixture, openFixture, outbox, placed } from './fixture.ts';
import { firstAppearances } from './fixture-recorder.ts';
import { createRelay, type RelayOptions } from './relay.ts';

// The answers that a publish can get beside an acknowledgement, as sidecars and what may stand in front of them give them.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('unacknowledged');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const fault = JSON.stringify({ errorCode: 'ERR_PUBSUB_PUBLISH_MESSAGE', message: 'nats: timeout' });
const ANSWERS = [
  { what: 'not taken', stores: false, answer: { status: 500, body: fault } },
  {
    what: 'not taken, with a success that has a failure in it',
    stores: false,
    answer: { status: 200, body: fault },
  },
  { what: 'taken by nobody', stores: false, answer: { status: 202, body: '' } },
  { what: 'taken, and the answer is late', stores: true, answer: undefined },
  { what: 'taken, and the connection is lost', stores: true, answer: 'reset' },
] as const;

/** A sidecar that goes through these answers, and then acknowledges; what it stored, and the rows that left meanwhile. */
async function openSidecar() {
  const stored: CloudEvent[] = [];
  const early: number[] = [];
  let nth = 0;
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const next = ANSWERS[nth++];
    const [row] = await fixture.admin<{ n: number }[]>`SELECT count(*)::int AS n FROM sent`;
    if (next) early.push(row?.n ?? 0);
    if (!next || next.stores) stored.push(JSON.parse(body));
    if (!next) return response.writeHead(204).end();
    if (next.answer === 'reset') return request.socket.destroy();
    if (next.answer) response.writeHead(next.answer.status).end(next.answer.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const dapr = createDapr({ httpPort: (server.address() as AddressInfo).port, apiToken: 'x' });
  const publish = (topic: string, event: CloudEvent) =>
    dapr.publish('pubsub-orders', topic, event, { timeoutMs: 300 });
  return { stored, early, publish };
}

async function relayAll(publish: RelayOptions['publish']): Promise<void> {
  await fixture.database.db.transaction((tx) => outbox.publish(tx, placed('k', 1), placed('k', 2)));
  const relay = createRelay({ ...testDeps('orders'), url: fixture.urls.url, publish, pollMs: 20 });
  onTestFinished(() => relay.stop());
  await relay.start();
  await eventually(async () => expect(await fixture.admin`SELECT FROM outbox`).toHaveLength(0), 30_000);
}

test('no answer but an acknowledgement removes a message, and it is published again under its id', async () => {
  const { stored, early, publish } = await openSidecar();
  await relayAll(publish);
  expect(early).toEqual(ANSWERS.map(() => 0));
  expect(firstAppearances(stored).get('k')).toEqual([1, 2]);
  expect(new Set(stored.map(({ id }) => id)).size).toBe(2);
  expect(await fixture.admin`SELECT FROM sent`).toHaveLength(2);
});

test('control: a publish that resolves with its error, as the SDK’s own does, loses messages', async () => {
  const { stored, publish } = await openSidecar();
  await relayAll(async (topic, event) => {
    await publish(topic, event).catch((error: unknown) => ({ error }));
  });
  // The first two answers were failures, and nothing was tried again.
  expect(stored).toEqual([]);
  expect(await fixture.admin`SELECT FROM sent`).toHaveLength(2);
});
