import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo, type Socket } from 'node:net';
import { delivery } from '@sidecart/messaging/testing';
import { onTestFinished, type TestContext } from 'vitest';
import { freePort } from '../../local/ports.ts';
import { redisCommand, redisUrl } from '../../local/redis.ts';
import { redisBroker } from '../../local/redis-broker.ts';
import { needsRedis } from '../../platform/fixture-redis.ts';
import { pingRedis, withRedis } from '../../platform/redis-streams.ts';
import { until } from '../waiting.ts';
import { type Change, killed, openSidecarRig } from './sidecar-rig.ts';

/** A sender and a reader of one topic, on a real Redis, with what the generator makes of the template. */
export interface RedisRig {
  url: string;
  /** Runs one command and gives its answer. */
  ask(...command: string[]): Promise<unknown>;
  redis: {
    start(): Promise<void>;
    kill(): Promise<void>;
    /** As when its host loses power: the sidecars' connections stay open, and nothing comes back on them. New ones work. */
    vanish(): void;
  };
  /** Starts the reader's sidecar; `kill` ends it by force. */
  startReader(): Promise<{ kill(): Promise<void> }>;
  /** Publishes through the sender's sidecar; the status, and the text of its answer. */
  publish(id: string, topic?: string): Promise<{ status: number; text: string }>;
  /** What the reader answers to a delivery; 200 unless set. */
  answer: (id: string, body: string) => number | Promise<number>;
  /** Every delivery to the reader so far, in the order of its answer. */
  deliveries: { id: string; status: number }[];
  /** Ids that were answered with 200 at least once. */
  handled(): Set<string>;
}

const TABLE = `
namespace: shop
broker: redis
services:
  edge: { port: 8080, database: false, replicas: 1, edge: true }
  books: { port: 8101, database: true, replicas: 1, topic: { lanes: 1 } }
  readers: { port: 8102, database: true, replicas: 1, consumes: [books] }
`;

/** Starts all but the reader's sidecar; the test's end stops everything. */
export async function openRedisRig(context: TestContext, ...changes: Change[]): Promise<RedisRig> {
  const program = await needsRedis(context);
  const { folder, run, startSidecar } = await openSidecarRig({ table: TABLE, broker: 'redis', changes });

  const port = await freePort();
  const url = redisUrl(port, 'secret');
  let redis: ChildProcess | undefined;
  const start = async () => {
    redis = run(redisCommand({ program, folder, port, password: 'secret' }), 'redis.log');
    await until('Redis to answer', () => pingRedis(url).then(() => true));
  };
  await start();

  const wire = await openWire(port);
  const broker = redisBroker.secret(wire.port, 'secret');

  const rig: Pick<RedisRig, 'answer' | 'deliveries'> = { answer: () => 200, deliveries: [] };
  const appPort = await listen(async (id, body) => {
    const status = await rig.answer(id, body);
    rig.deliveries.push({ id, status });
    return status;
  });
  const sender = await startSidecar('books', { broker });
  return Object.assign(rig, {
    url,
    ask: (...command: string[]) => withRedis(url, (send) => send(...command)),
    redis: { start, kill: () => killed(redis), vanish: wire.cut },
    startReader: () => startSidecar('readers', { broker, app: { port: appPort } }),
    async publish(id: string, topic = 'books') {
      const event = JSON.parse(delivery('BookAdded', { n: 1 }, { id, key: id }));
      const response = await fetch(`http://127.0.0.1:${sender.http}/v1.0/publish/pubsub-books/${topic}`, {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json' },
        body: JSON.stringify(event),
      });
      return { status: response.status, text: await response.text() };
    },
    handled: () => new Set(rig.deliveries.filter(({ status }) => status === 200).map(({ id }) => id)),
  });
}

/** What lies between the sidecars and Redis. */
async function openWire(target: number): Promise<{ port: number; cut(): void }> {
  const pairs = new Set<[Socket, Socket]>();
  const server = net.createServer((near) => {
    const far = net.connect(target, '127.0.0.1');
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [one, other] of [pair, [far, near]] as const)
      one
        .pipe(other)
        .on('error', () => {})
        .on('close', () => pairs.has(pair) && one.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const all: Socket[] = [];
  server.on('connection', (socket) => all.push(socket));
  onTestFinished(() => {
    for (const socket of all) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      for (const [near, far] of pairs) {
        near.unpipe(far).pause();
        far.unpipe(near).destroy();
      }
      pairs.clear();
    },
  };
}

/** The reader's app: hands each delivery to `receive`, and answers with the status that it gives. */
async function listen(receive: (id: string, body: string) => Promise<number>): Promise<number> {
  const app = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    response.writeHead(await receive(JSON.parse(body).id, body)).end();
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  onTestFinished(() => {
    app.closeAllConnections();
    app.close();
  });
  return (app.address() as AddressInfo).port;
}
