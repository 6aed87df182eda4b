import type { Database } from './db.ts';
import type { Health } from './health.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Worker } from './service.ts';

type Fault = Error & { code?: string };

/**
 * Asks the database every few seconds whether it is there, so that its absence shows in the health details and as the
 * metric sidecart_database_up even while nobody uses it. The process stays ready.
 */
export function createDatabaseWatch(o: {
  database: Database;
  health: Health;
  metrics: Metrics;
  log: Logger;
  /** Default 5000. */
  intervalMs?: number;
}): Worker {
  const up = o.metrics.gauge('sidecart_database_up', '1 while the database answers, else 0');
  let wasUp = true;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();

  async function look(): Promise<void> {
    const fault = await o.database.sql`select 1`.then(
      () => undefined,
      (err: Fault) => err,
    );
    up.set(fault ? 0 : 1);
    if (fault) o.health.report('database', { status: 'degraded', reason: reasonOf(fault) });
    else o.health.report('database', { status: 'ok' });
    if (wasUp && fault) o.log.warn({ err: fault }, 'the database is away');
    if (!wasUp && !fault) o.log.info('the database is back');
    wasUp = fault === undefined;
  }

  return {
    name: 'database-watch',
    start() {
      const turn = () => {
        running = look();
        timer = setTimeout(turn, o.intervalMs ?? 5000);
      };
      turn();
    },
    async stop() {
      clearTimeout(timer);
      await running;
    },
  };
}

/** Its code and its text: either alone says too little. Many texts have the code in them, and some faults have no text. */
function reasonOf({ code, message }: Fault): string {
  if (code === undefined || message.includes(code)) return message;
  return message === '' ? code : `${code}: ${message}`;
}
