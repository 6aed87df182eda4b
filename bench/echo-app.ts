import { serve } from '@hono/node-server';
import { Hono } from 'hono';

/**
 * The least that can stand behind a sidecar: answers what it is sent, and notes when a message came. `/times` tells it
 * in milliseconds of the monotonic clock, which all processes of a machine share.
 */
const app = new Hono();
const arrivals: Record<string, number> = {};

app.get('/readyz', (c) => c.text('ready'));
app.post('/echo', async (c) => c.json(await c.req.json()));
app.post('/messages', async (c) => {
  const { id } = await c.req.json<{ id: string }>();
  arrivals[id] ??= Number(process.hrtime.bigint()) / 1e6;
  return c.json({ status: 'SUCCESS' });
});
app.get('/times', (c) => c.json(arrivals));

serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' });
