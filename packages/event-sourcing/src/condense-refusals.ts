import type { Executor } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { CONDENSED } from './aggregate.ts';
import type { CondenseDeps } from './condense.ts';
import { CondenseRefusedError, foreignPosition } from './errors.ts';
import { FOREIGN_POSITION } from './subscription.ts';

/**
 * What the events of a stream may still be needed for. Two short questions by index: whoever asks them first reads, compresses and puts
 * away nothing for a stream that is refused.
 *
 * @throws CondenseRefusedError.
 */
export async function refuseCondensing(
  db: Executor,
  { topics }: Pick<CondenseDeps, 'topics'>,
  streamId: string,
  toVersion: number,
): Promise<void> {
  await refuseWhileBehind(db, streamId, toVersion);
  await refuseWhileMessages(db, streamId, topics);
}

/** A read model that has not done these events would never see them. */
async function refuseWhileBehind(db: Executor, streamId: string, toVersion: number): Promise<void> {
  const [row] = await runPrepared<{ name: string; state: string; foreign: boolean }>(
    db,
    'condense_behind',
    `SELECT name, state, ${FOREIGN_POSITION} AS foreign FROM subscriptions s
     WHERE state <> 'retired' AND (${FOREIGN_POSITION} OR EXISTS (
       SELECT FROM events e WHERE e.stream_id = $1::text AND e.version <= $2::bigint AND e.type <> '${CONDENSED}'
         AND NOT pg_visible_in_snapshot(e.xid, s.done)))
     ORDER BY state LIMIT 1`,
    [streamId, String(toVersion)],
  );
  if (row?.foreign) throw new CondenseRefusedError('foreign_position', foreignPosition(row.name));
  if (row)
    throw new CondenseRefusedError(
      'projection_behind',
      row.state === 'building'
        ? `Projection ${row.name} is being rebuilt: wait until it has ended`
        : `Projection ${row.name} has not done all events of ${streamId}: try again when it has`,
    );
}

async function refuseWhileMessages(db: Executor, streamId: string, topics: readonly string[]): Promise<void> {
  const [row] = await runPrepared<{ unsent: boolean; kept: boolean }>(
    db,
    'condense_messages',
    `SELECT EXISTS (SELECT FROM outbox WHERE msg_key = $1::text)
       OR EXISTS (SELECT FROM outbox_delayed WHERE msg_key = $1::text)
       OR EXISTS (SELECT FROM outbox_local WHERE msg_key = $1::text) AS unsent,
     EXISTS (SELECT FROM sent WHERE topic IN (SELECT json_array_elements_text($2::text::json)) AND msg_key = $1::text) AS kept`,
    [streamId, JSON.stringify(topics)],
  );
  if (row?.unsent)
    throw new CondenseRefusedError(
      'message_unsent',
      `A message of ${streamId} is not yet sent: try again later`,
    );
  if (row?.kept)
    throw new CondenseRefusedError(
      'message_kept',
      `Messages of ${streamId} are still kept for receivers that miss them: try again when they are dropped`,
    );
}
