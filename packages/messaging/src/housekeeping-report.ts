import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import { rootMessage } from './failures.ts';

/** What housekeeping says to people: log and the part `housekeeping` of the health details. */
export interface HousekeepingReport {
  worked(chore: string): void;
  failed(chore: string, err: unknown): void;
}

/** Failures of one chore in a row, after which it shows in the health details. */
const NOTABLE_FAILURES = 3;

export function createHousekeepingReport(o: { log: Logger; health: Health }): HousekeepingReport {
  const failing = new Map<string, { failures: number; error: string }>();

  function reportHealth(): void {
    const reasons = [...failing]
      .filter(([, { failures }]) => failures >= NOTABLE_FAILURES)
      .map(([chore, { failures, error }]) => `${chore}, ${failures} failures: ${error}`);
    o.health.report(
      'housekeeping',
      reasons.length === 0 ? { status: 'ok' } : { status: 'degraded', reason: reasons.join('; ') },
    );
  }

  return {
    worked(chore) {
      if (failing.delete(chore)) o.log.info({ chore }, 'Housekeeping works again');
      reportHealth();
    },
    failed(chore, err) {
      const error = rootMessage(err);
      const failures = (failing.get(chore)?.failures ?? 0) + 1;
      if (failures === 1) o.log.warn({ chore, reason: error }, 'Housekeeping failed; it is tried again');
      failing.set(chore, { failures, error });
      reportHealth();
    },
  };
}
