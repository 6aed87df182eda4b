import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Metrics } from '@sidecart/kit/metrics';
import { count, eq } from 'drizzle-orm';
import { deadLetter } from './schema.ts';

/** Counts the dead letters and says so in the metric and in the health details; throws when the database is away. */
export async function reportDeadLetters(o: {
  database: Database;
  metrics: Metrics;
  health: Health;
}): Promise<void> {
  const [row] = await o.database.db
    .select({ n: count() })
    .from(deadLetter)
    .where(eq(deadLetter.state, 'waiting'));
  const n = row?.n ?? 0;
  o.metrics.gauge('sidecart_dead_letters', 'Messages in dead_letter that wait for somebody to decide').set(n);
  o.health.report(
    'dead_letters',
    n === 0
      ? { status: 'ok' }
      : { status: 'degraded', reason: `${n} message(s) in dead_letter wait for a decision` },
  );
}
