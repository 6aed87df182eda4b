import type { Database, Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { LOCKS } from './lock-classes.ts';
import { FOREIGN_EVENT, FOREIGN_POSITION } from './subscription.ts';

export interface Adopted {
  /** That were taken over. */
  events: number;
  /** That are built anew. */
  projections: string[];
}

/** Of no code: nobody follows with it, and whoever has the projection builds it anew. */
const NO_CODE = 0;
/** Events at a time, all in one transaction: one statement for all would outlast its deadline. */
const PAGE = 10_000;

/**
 * Makes a database that was restored from a dump this server's own. The events are taken for ones of transactions that ended long
 * ago, and every read model is built anew; until then what is read is what the dump had. Where nothing is of another server nothing is
 * done.
 *
 * One transaction: a position that is believed beside events that are not yet taken over would skip some.
 */
export async function adoptDatabase({ db }: Pick<Database, 'db'>): Promise<Adopted> {
  return db.transaction(
    async (tx) => {
      await runPrepared(tx, 'condensing_exclusive', 'SELECT pg_advisory_xact_lock($1::int, 0)', [
        LOCKS.condensing,
      ]);
      if (!(await isForeign(tx))) return { events: 0, projections: [] };
      const projections = await disownSubscriptions(tx);
      return { events: await takeEvents(tx), projections };
    },
    { isolationLevel: 'read committed' },
  );
}

async function isForeign(tx: Transaction): Promise<boolean> {
  const [row] = await runPrepared<{ foreign: boolean }>(
    tx,
    'adopt_look',
    `SELECT ${FOREIGN_EVENT} OR EXISTS (SELECT FROM subscriptions WHERE state <> 'retired' AND ${FOREIGN_POSITION}) AS foreign`,
    [],
  );
  return row?.foreign ?? false;
}

/** Not deleted: their rows are still read, and a generation that begins again at 1 would be added to those of the dump. */
async function disownSubscriptions(tx: Transaction): Promise<string[]> {
  const rows = await runPrepared<{ name: string }>(
    tx,
    'adopt_subscriptions',
    `UPDATE subscriptions SET code_version = ${NO_CODE}, state = CASE state WHEN 'live' THEN 'live' ELSE 'retired' END
     WHERE state <> 'retired' RETURNING name`,
    [],
  );
  return [...new Set(rows.map(({ name }) => name))].sort();
}

async function takeEvents(tx: Transaction): Promise<number> {
  let taken = 0;
  for (let after = '0'; ; ) {
    const [page] = await runPrepared<{ last: string | null; taken: number }>(
      tx,
      'adopt_events',
      `WITH page AS (SELECT pos FROM events WHERE pos > $1::text::bigint ORDER BY pos LIMIT ${PAGE}),
         taken AS (UPDATE events e SET xid = '3' FROM page WHERE e.pos = page.pos AND e.xid <> '3' RETURNING 1)
       SELECT (SELECT max(pos) FROM page)::text AS last, (SELECT count(*) FROM taken)::int AS taken`,
      [after],
    );
    if (!page?.last) return taken;
    taken += page.taken;
    after = page.last;
  }
}
