import { AsyncLocalStorage } from 'node:async_hooks';
import { serve } from '@hono/node-server';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { type Consumer, createConsumer } from '@sidecart/messaging/consumer';
import { on } from '@sidecart/messaging/handler';
import { Hono } from 'hono';
import { now } from '../machine.ts';
import { BENCH_TYPE, benchData, TOPIC } from './bench-catalog.ts';

// The program behind the receiving sidecar. Bare it answers what it is sent; with a database it is a service of this
// project, with an inbox, and a message counts when its transaction has committed. `/handled` tells of each as it goes.

const TELL_MS = 10;
const SUCCESS = { status: 'SUCCESS' };

const app = new Hono();
const handled: [n: number, at: number][] = [];
/** The message that the delivery at hand was about, once the handler has had it. */
const applied = new AsyncLocalStorage<{ n?: number }>();
let service: { database: Database; consumer: Consumer } | undefined;

const handler = on(benchData, async (_tx, { data }) => {
  const delivery = applied.getStore();
  if (delivery) delivery.n = data.n;
});

app.get('/readyz', (c) => c.text('ready'));

/** What the next cell needs: `{ url }` of a database with the messaging tables, or nothing for bare deliveries. */
app.post('/open', async (c) => {
  const { url } = await c.req.json<{ url?: string }>();
  await service?.consumer.worker.stop();
  await service?.database.close();
  service = undefined;
  handled.length = 0;
  if (url !== undefined) {
    const database = connectDatabase({ url, applicationName: 'bench-receiver' });
    const topics = { [TOPIC]: { kind: 'fact' as const, handlers: { [BENCH_TYPE]: handler } } };
    const consumer = createConsumer({ ...testDeps('bench-callee'), database, topics });
    await consumer.worker.start();
    service = { database, consumer };
  }
  return c.json({});
});

app.post('/messages', async (c) => {
  if (!service) {
    const { data } = await c.req.json<{ data: { n: number } }>();
    handled.push([data.n, now()]);
    return c.json(SUCCESS);
  }
  const body = new Uint8Array(await c.req.arrayBuffer());
  const { consumer } = service;
  const delivery: { n?: number } = {};
  const answer = await applied.run(delivery, () => consumer.receive(TOPIC, body, c.req.header()));
  if (answer === 'retry') return c.json({ status: 'RETRY' }, 503);
  if (delivery.n !== undefined) handled.push([delivery.n, now()]);
  return c.json(SUCCESS);
});

app.get('/handled', (c) => {
  let timer: NodeJS.Timeout | undefined;
  const encoder = new TextEncoder();
  const stream = new ReadableStream({
    start(controller) {
      const tell = () => controller.enqueue(encoder.encode(`${JSON.stringify(handled.splice(0))}\n`));
      // At once, so that whoever asks has an answer to go on from.
      tell();
      timer = setInterval(() => handled.length > 0 && tell(), TELL_MS);
    },
    cancel: () => clearInterval(timer),
  });
  c.req.raw.signal.addEventListener('abort', () => clearInterval(timer));
  return c.body(stream);
});

serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' });
