/** The topic of messages that a service sends to itself. */
export const SELF = 'self';

/**
 * Where messages go: to a topic by way of the broker, to this service itself (in the order of its key, or with no number because
 * its handler wants none), or to wait for their time.
 */
export type Target = 'broker' | 'local' | 'unnumbered' | 'delayed';

/** The key_seq of a message that has no number in the order of its key. */
export const UNNUMBERED = '0';

/**
 * Numbers the rows of a CTE `message (target, slot, topic, msg_key, event_id, type, payload, headers, ordinality)`. The counters are
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

const TO_NUMBER = `message AS (SELECT * FROM incoming WHERE target IN ('broker', 'local'))`;

const INSERT: Record<Target, string> = {
  broker: `
    INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
    SELECT slot, topic, msg_key, event_id, key_seq, type, payload, headers FROM numbered
    WHERE target = 'broker' ORDER BY ordinality`,
  local: `
    INSERT INTO outbox_local (slot, msg_key, event_id, key_seq, type, payload, headers)
    SELECT slot, msg_key, event_id, key_seq, type, payload, headers FROM numbered
    WHERE target = 'local' ORDER BY ordinality`,
  unnumbered: `
    INSERT INTO outbox_local (slot, msg_key, event_id, key_seq, type, payload, headers)
    SELECT slot, msg_key, event_id, ${UNNUMBERED}, type, payload, headers FROM incoming
    WHERE target = 'unnumbered' ORDER BY ordinality`,
  delayed: `
    INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
    SELECT coalesce(due_at, clock_timestamp() + delay_ms * interval '1 ms'),
      topic, msg_key, event_id, type, payload, headers FROM incoming
    WHERE target = 'delayed' ORDER BY ordinality`,
};

const INCOMING = `
  incoming AS (
    SELECT * FROM ROWS FROM (
      json_to_recordset($1::text::json)
      AS (target text, slot smallint, topic text, msg_key text, event_id uuid, type text, payload json, headers json,
        due_at timestamptz, delay_ms float8)
    ) WITH ORDINALITY AS m (target, slot, topic, msg_key, event_id, type, payload, headers, due_at, delay_ms, ordinality)
  )`;

const COUNTED = `
  WITH counter AS (
    INSERT INTO outbox_sequence AS s (topic, msg_key, last) VALUES ($7::text, $2::text, 1)
    ON CONFLICT (topic, msg_key) DO UPDATE SET last = s.last + 1 RETURNING last
  )`;

/**
 * The same for a call with a single message, which most calls have: half the work for the database. $1 to $6 are slot, msg_key,
 * event_id, type, payload and headers; $7 is the topic, where the message has a number.
 */
export const INSERT_ONE: Record<Exclude<Target, 'delayed'>, string> = {
  broker: `${COUNTED}
    INSERT INTO outbox (slot, msg_key, event_id, type, payload, headers, topic, key_seq)
    SELECT $1::smallint, $2::text, $3::uuid, $4::text, $5::text::json, $6::text::json, $7::text, last FROM counter`,
  local: `${COUNTED}
    INSERT INTO outbox_local (slot, msg_key, event_id, type, payload, headers, key_seq)
    SELECT $1::smallint, $2::text, $3::uuid, $4::text, $5::text::json, $6::text::json, last FROM counter`,
  unnumbered: `
    INSERT INTO outbox_local (slot, msg_key, event_id, type, payload, headers, key_seq)
    VALUES ($1::smallint, $2::text, $3::uuid, $4::text, $5::text::json, $6::text::json, ${UNNUMBERED})`,
};

/** One statement that writes all messages of a call, wherever they go; $1 is their rows as JSON. */
export function insertStatement(targets: ReadonlySet<Target>): string {
  const parts = [INCOMING];
  if (targets.has('broker') || targets.has('local')) {
    parts.push(TO_NUMBER, NUMBERED);
  }
  return `WITH ${parts.join(', ')} ${writes(targets)}`;
}

/** A receiver takes a message that is much older than its time says for one that comes again. */
const RELEASED_NOW = `jsonb_build_object('time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`;

/**
 * Moves delayed messages to where they belong, with a number and a place in the order of their key, but for those that need none; $1 is
 * `[{id, slot}]`, $2 the types of messages to oneself whose handler wants no order, as JSON.
 */
export const RELEASE_STATEMENT = `
  WITH due AS (
    DELETE FROM outbox_delayed d USING json_to_recordset($1::text::json) AS g (id bigint, slot smallint)
    WHERE d.id = g.id RETURNING g.slot, d.*
  ), incoming AS (
    SELECT CASE WHEN topic <> '${SELF}' THEN 'broker'
        WHEN type IN (SELECT json_array_elements_text($2::text::json)) THEN 'unnumbered' ELSE 'local' END AS target,
      slot, topic, msg_key, event_id, type, payload, (headers::jsonb || ${RELEASED_NOW})::json AS headers,
      row_number() OVER (ORDER BY due_at, id) AS ordinality
    FROM due
  ), ${TO_NUMBER}, ${NUMBERED} ${writes(new Set<Target>(['broker', 'local', 'unnumbered']))}`;

/** All but the last as CTEs, which run whether or not somebody reads them. */
function writes(targets: ReadonlySet<Target>): string {
  const inserts = [...targets].map((target) => INSERT[target]);
  const last = inserts.pop() ?? '';
  return `${inserts.map((insert, i) => `, write${i} AS (${insert})`).join('')} ${last}`;
}
