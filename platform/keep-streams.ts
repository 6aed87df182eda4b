import { setTimeout as sleep } from 'node:timers/promises';
import { createHealth, type Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import { listen } from '@sidecart/kit/server';
import { Hono } from 'hono';
import { z } from 'zod';
import { lookAtJetStream } from './look-jetstream.ts';
import { lookAtRedis } from './look-redis.ts';
import type { RedisWanted } from './redis-streams.ts';
import { readBrokerWanted } from './streams.ts';

/** The environment of `platform streams`. */
export const streamsConfig = z.object({
  BROKER_URL: z
    .url({ protocol: /^(nats|tls|rediss?)$/ })
    .describe(
      'the URL of the broker with its login, e.g. nats://sidecart:...@nats:4222 or redis://default:...@redis:6379',
    ),
  STREAMS_FILE: z
    .string()
    .min(1)
    .default('/app/streams.yaml')
    .describe('the generated list of streams, components/brokers/<broker>-streams.generated.yaml'),
  PORT: z.coerce
    .number()
    .int()
    .min(1)
    .max(65535)
    .default(8080)
    .describe('the port of the health paths, e.g. 8080'),
  HOST: z.string().min(1).default('127.0.0.1').describe('the address of the health paths'),
  LOOK_SECONDS: z.coerce
    .number()
    .positive()
    .default(5)
    .describe('how often to look at the broker, in seconds, e.g. 5'),
});

/**
 * Keeps the broker as it is wanted, for ever: makes what is missing and is not the sidecars' to make, brings what is there
 * to its wanted settings, and looks again every few seconds, as a broker may come back empty. Ready after the first look that went
 * well; a broker that is away later only makes it degraded.
 */
export async function keepStreams(o: { config: z.infer<typeof streamsConfig>; log: Logger }): Promise<never> {
  const { config, log } = o;
  const health = createHealth('platform');
  const server = await listen({ fetch: healthApp(health).fetch, port: config.PORT, host: config.HOST });
  log.info({ port: server.port }, 'listening');
  const look = createLook({ url: config.BROKER_URL, file: config.STREAMS_FILE, log });
  const report = reportMissing({ health, log });
  let told = '';
  for (;;) {
    try {
      report(await look());
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

/** One look at the broker, which does what is to be done; tells which consumers no sidecar is subscribed to. */
function createLook(o: { url: string; file: string; log: Logger }): () => Promise<string[]> {
  const { file, ...rest } = o;
  return /^rediss?:/.test(o.url)
    ? lookAtRedis({ ...rest, wanted: readBrokerWanted<RedisWanted>(file) })
    : lookAtJetStream({ ...rest, wanted: readBrokerWanted(file) });
}

/** How long a consumer may be without a sidecar before it is worth a word: as long as its app may take to start. */
const PATIENCE_MS = 120_000;

/** Hears after each look which consumers have no sidecar, and says it once they had none for too long. */
function reportMissing({ health, log }: { health: Health; log: Logger }): (missing: string[]) => void {
  let complete = performance.now();
  let told = '';
  return (missing) => {
    if (missing.length === 0) complete = performance.now();
    const late = performance.now() - complete > PATIENCE_MS ? missing.join(', ') : '';
    if (late !== '' && late !== told)
      log.warn(
        {
          consumers: missing,
          cure:
            'Look for "Retry failed for subscription" in the log of the sidecars of the apps that these names begin with. ' +
            '"consumer name already in use": the component asks for other settings than this list has; release both together ' +
            '(docs/kubernetes.md, "Change a component"). Nothing there: restart the pods.',
        },
        'no sidecar is subscribed',
      );
    told = late;
    health.report(
      'consumers',
      late === '' ? { status: 'ok' } : { status: 'degraded', reason: `no sidecar is subscribed: ${late}` },
    );
  };
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
