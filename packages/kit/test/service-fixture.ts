import { setTimeout as sleep } from 'node:timers/promises';
import { createApp } from '../src/app.ts';
import { runService, type Worker } from '../src/service.ts';

// A service as small as can be, for service.int.test.ts; FIXTURE says what is wrong with it.

const { env } = process;
const { FIXTURE, FIXTURE_DATABASE } = env;

await runService({
  env,
  service: 'fixture',
  database: FIXTURE_DATABASE === 'yes',
  build({ config, log, metrics, health, database }) {
    if (FIXTURE === 'build-fails') throw new Error('no such thing');
    const app = createApp({ service: 'fixture', log, metrics, health, appToken: config.APP_API_TOKEN });
    app.get('/slow', async (c) => {
      await sleep(500);
      if (database) await database.sql`select 1`;
      log.info('slow is done');
      return c.json({ done: true });
    });
    app.get('/reject', (c) => {
      void Promise.reject(new Error('nobody awaits me'));
      return c.json({});
    });
    app.get('/throw', (c) => {
      setTimeout(() => {
        throw new Error('nobody catches me');
      });
      return c.json({});
    });
    const worker = (name: string): Worker => ({
      name,
      async start() {
        log.info({ name }, 'worker started');
        if (FIXTURE === 'worker-slow') await sleep(500);
        if (FIXTURE === 'worker-fails')
          throw Object.assign(new Error('no slots'), { cure: 'make sixteen of them' });
      },
      async stop() {
        if (FIXTURE === 'worker-hangs' && name === 'second') await new Promise(() => {});
        log.info({ name }, 'worker stopped');
      },
    });
    return { app, workers: [worker('first'), worker('second')] };
  },
});
