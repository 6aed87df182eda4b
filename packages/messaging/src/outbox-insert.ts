/** The topic of messages that a service sends to itself. */
export const SELF = 'self';

/** Where messages go: to a topic by way of the broker, to this service itself, or to wait for their time. */
export type Target = 'broker' | 'local' | 'delayed';

/**
 * Numbers the rows of a CTE `message (slot, topic, msg_key, event_id, type, payload, headers, ordinality)`. The counters are
 * taken in the order of topic and key (no deadlock between calls), each before the first id of its key: whoever comes second
 * waits there until the first has committed, and so gets the higher id as well as the higher sequence number.
 *
 * A key's counter is found by its place in an array: PostgreSQL expects one row of a CTE and would join them in nested loops,
 * which for a call with a thousand keys takes a quarter of a second.
 */
const NUMBERED = `
  ranked AS (
    SELECT *, dense_rank() OVER (ORDER BY topic, msg_key) AS place,
      row_number() OVER (PARTITION BY topic, msg_key ORDER BY ordinality) AS nth,
      count(*) OVER (PARTITION BY topic, msg_key) AS n
    FROM message
  ), counter AS (
    INSERT INTO outbox_sequence AS s (topic, msg_key, last)
    SELECT topic, msg_key, n FROM ranked WHERE nth = 1 ORDER BY topic, msg_key
    ON CONFLICT (topic, msg_key) DO UPDATE SET last = s.last + excluded.last
    RETURNING topic, msg_key, last
  ), counters AS (
    SELECT array_agg(last ORDER BY topic, msg_key) AS last FROM counter
  ), numbered AS (
    SELECT r.*, c.last[r.place] - r.n + r.nth AS key_seq FROM ranked r CROSS JOIN counters c
  )`;

const INSERT: Record<Target, string> = {
  broker: `
    INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
    SELECT slot, topic, msg_key, event_id, key_seq, type, payload, headers FROM numbered
    WHERE topic <> '${SELF}' ORDER BY ordinality`,
  local: `
    INSERT INTO outbox_local (slot, msg_key, event_id, key_seq, type, payload, headers)
    SELECT slot, msg_key, event_id, key_seq, type, payload, headers FROM numbered
    WHERE topic = '${SELF}' ORDER BY ordinality`,
  delayed: `
    INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
    SELECT coalesce(due_at, clock_timestamp() + delay_ms * interval '1 ms'),
      topic, msg_key, event_id, type, payload, headers FROM incoming
    WHERE due_at IS NOT NULL OR delay_ms IS NOT NULL ORDER BY ordinality`,
};

const INCOMING = `
  incoming AS (
    SELECT * FROM ROWS FROM (
      json_to_recordset($1::text::json)
      AS (slot smallint, topic text, msg_key text, event_id uuid, type text, payload json, headers json,
        due_at timestamptz, delay_ms float8)
    ) WITH ORDINALITY AS m (slot, topic, msg_key, event_id, type, payload, headers, due_at, delay_ms, ordinality)
  )`;

/** One statement that writes all messages of a call, wherever they go; $1 is their rows as JSON. */
export function insertStatement(targets: ReadonlySet<Target>): string {
  const parts = [INCOMING];
  if (targets.has('broker') || targets.has('local')) {
    const now = targets.has('delayed') ? 'WHERE due_at IS NULL AND delay_ms IS NULL' : '';
    parts.push(`message AS (SELECT * FROM incoming ${now})`, NUMBERED);
  }
  return `WITH ${parts.join(', ')} ${writes(targets)}`;
}

/** A receiver takes a message that is much older than its time says for one that comes again. */
const RELEASED_NOW = `jsonb_build_object('time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`;

/** Moves delayed messages to where they belong, with a number and a place in the order of their key; $1 is `[{id, slot}]`. */
export const RELEASE_STATEMENT = `
  WITH due AS (
    DELETE FROM outbox_delayed d USING json_to_recordset($1::text::json) AS g (id bigint, slot smallint)
    WHERE d.id = g.id RETURNING g.slot, d.*
  ), message AS (
    SELECT slot, topic, msg_key, event_id, type, payload, (headers::jsonb || ${RELEASED_NOW})::json AS headers,
      row_number() OVER (ORDER BY due_at, id) AS ordinality
    FROM due
  ), ${NUMBERED} ${writes(new Set<Target>(['broker', 'local']))}`;

/** All but the last as CTEs, which run whether or not somebody reads them. */
function writes(targets: ReadonlySet<Target>): string {
  const inserts = [...targets].map((target) => INSERT[target]);
  const last = inserts.pop() ?? '';
  return `${inserts.map((insert, i) => `, write${i} AS (${insert})`).join('')} ${last}`;
}
