import { setTimeout as sleep } from 'node:timers/promises';
import { createHealth, type Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import { listen } from '@sidecart/kit/server';
import { Hono } from 'hono';
import { z } from 'zod';
import { alignConsumers } from './consumers.ts';
import { brokerState, ensureStreams, readBrokerWanted } from './streams.ts';

/** The environment of `platform streams`. */
export const streamsConfig = z.object({
  BROKER_URL: z
    .url({ protocol: /^nats$/ })
    .describe('the URL of the broker with its login, e.g. nats://sidecart:...@nats:4222'),
  STREAMS_FILE: z
    .string()
    .min(1)
    .default('/app/streams.yaml')
    .describe('the generated list of streams, components/brokers/<broker>-streams.generated.yaml'),
  PORT: z.coerce.number().int().min(0).max(65535).default(8080).describe('the port of the health paths'),
  HOST: z.string().min(1).default('127.0.0.1').describe('the address of the health paths'),
  LOOK_SECONDS: z.coerce
    .number()
    .positive()
    .default(5)
    .describe('how often to look at the broker, in seconds, e.g. 5'),
});

/**
 * Keeps the broker as it is wanted, for ever: makes streams that are missing, brings what is there to its wanted
 * settings, and looks again every few seconds, as a broker may come back empty. Ready after the first look that went
 * well; a broker that is away later only makes it degraded.
 */
export async function keepStreams(o: { config: z.infer<typeof streamsConfig>; log: Logger }): Promise<never> {
  const { config, log } = o;
  const wanted = readBrokerWanted(config.STREAMS_FILE);
  const health = createHealth('platform');
  const server = await listen({ fetch: healthApp(health).fetch, port: config.PORT, host: config.HOST });
  log.info({ port: server.port }, 'listening');
  const names = wanted.streams.map(({ name }) => name);
  let settled = false;
  let told = '';

  const look = async () => {
    const { streams } = await brokerState(config.BROKER_URL, names, []);
    if (!settled || names.some((name) => !streams.has(name))) {
      const made = await ensureStreams(config.BROKER_URL, wanted.streams);
      if (made.length > 0) log.info({ streams: made }, 'streams were missing and were made');
    }
    const changed = await alignConsumers(config.BROKER_URL, wanted.consumers);
    if (changed.length > 0)
      log.info({ consumers: changed }, 'consumers were brought to their wanted settings');
    if (!settled) log.info({ streams: names }, 'streams are there');
    settled = true;
  };

  for (;;) {
    try {
      await look();
      if (told !== '') log.info('the broker is back');
      told = '';
      health.report('broker', { status: 'ok' });
      health.setReady(true);
    } catch (err) {
      const { message } = err as Error;
      if (told !== message) log.warn({ err }, 'the broker cannot be looked after');
      told = message;
      health.report('broker', { status: 'degraded', reason: message });
    }
    await sleep(config.LOOK_SECONDS * 1000);
  }
}

function healthApp(health: Health): Hono {
  const app = new Hono();
  app.get('/livez', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', (c) =>
    health.ready() ? c.json({ status: 'ready' }) : c.json({ status: 'starting' }, 503),
  );
  app.get('/healthz', (c) => c.json(health.details()));
  return app;
}
