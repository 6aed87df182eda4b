import type { PlainEvent, Projection } from '@sidecart/event-sourcing/projection';
import { byIndex } from '@sidecart/event-sourcing/reader';
import { notDone } from '@sidecart/event-sourcing/subscription';
import type { Executor, Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { and, desc, eq, lt, sql } from 'drizzle-orm';
import type { OrderEvent } from '../order-events.ts';
import { evolve, initialState, type Order, type OrderState } from '../order-state.ts';
import { orderDay, orderSummary } from '../schema.ts';

// Lists and dashboard in one read model: what they say is of one moment, as one transaction writes both and one statement reads them.

export const PROJECTION = 'orders';
const PENDING_AT_MOST = 100_000;

export interface Dashboard {
  openOrders: number;
  /** Orders that need a person. */
  attention: number;
  placedOrders: number;
  unitsShipped: number;
  /** In pence. */
  takings: number;
  refunded: number;
  /** Events that are not in these figures yet; counted up to 100,000 or somewhat more. */
  pendingEvents: number;
}

/** The generation that is read. */
const LIVE = sql`(SELECT generation FROM subscriptions WHERE name = ${PROJECTION} AND state = 'live')`;

export const ordersProjection: Projection<OrderEvent> = {
  name: PROJECTION,
  codeVersion: 2,
  needsMeta: false,
  async apply(tx, generation, events) {
    const states = await statesOf(tx, generation, new Set(events.map(({ streamId }) => streamId)));
    const days = new Map<string, Day>();
    for (const recorded of events) {
      const next = evolve(states.get(recorded.streamId) ?? initialState(), recorded.event);
      states.set(recorded.streamId, next);
      if (next.status !== 'none') count(days, recorded, next);
    }
    await Promise.all([saveStates(tx, generation, states), saveDays(tx, generation, days)]);
  },
  async discard(db, generation, limit) {
    const gone = await db.execute(sql`
      DELETE FROM order_summary WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM order_summary WHERE generation = ${generation} LIMIT ${limit}))`);
    if (gone.count < limit) await db.delete(orderDay).where(eq(orderDay.generation, generation));
    return gone.count;
  },
};

/** Newest first. */
export async function listOrders(
  db: Executor,
  o: {
    status?: Order['status'] | undefined;
    customerId?: string | undefined;
    attention?: boolean | undefined;
    before?: string | undefined;
    take: number;
  },
): Promise<Order[]> {
  const rows = await db
    .select({ state: orderSummary.state })
    .from(orderSummary)
    .where(
      and(
        eq(orderSummary.generation, LIVE),
        o.status === undefined ? undefined : eq(orderSummary.status, o.status),
        o.customerId === undefined ? undefined : eq(orderSummary.customerId, o.customerId),
        o.attention === undefined ? undefined : eq(orderSummary.attention, o.attention),
        o.before === undefined ? undefined : lt(orderSummary.id, o.before),
      ),
    )
    .orderBy(desc(orderSummary.id))
    .limit(o.take);
  return rows.map(({ state }) => state);
}

/** One statement: all figures are of one moment. */
export const DASHBOARD = `
  WITH live AS (SELECT generation, done FROM subscriptions WHERE name = '${PROJECTION}' AND state = 'live')
  SELECT
    (SELECT count(*) FROM order_summary s, live WHERE s.generation = live.generation
       AND status IN ('placed', 'confirmed', 'shipped'))::int AS "openOrders",
    (SELECT count(*) FROM order_summary s, live WHERE s.generation = live.generation AND attention)::int AS attention,
    coalesce(sum(placed), 0)::float8 AS "placedOrders",
    coalesce(sum(units_shipped), 0)::float8 AS "unitsShipped",
    coalesce(sum(takings), 0)::float8 AS takings,
    coalesce(sum(refunded), 0)::float8 AS refunded,
    coalesce(
      (SELECT ${notDone(PENDING_AT_MOST)} FROM live),
      -- It is being built for the first time.
      (SELECT count(*) FROM (SELECT FROM events LIMIT ${PENDING_AT_MOST}) AS e)
    )::int AS "pendingEvents"
  FROM order_day d, live WHERE d.generation = live.generation`;

export async function readDashboard(tx: Transaction): Promise<Dashboard> {
  const [row] = await byIndex(tx, () => runPrepared<Dashboard>(tx, 'orders_dashboard', DASHBOARD, []));
  if (!row) throw new Error('An aggregate without GROUP BY has one row');
  return row;
}

type Day = Omit<typeof orderDay.$inferInsert, 'generation'>;

function count(days: Map<string, Day>, { at, event }: PlainEvent<OrderEvent>, order: Order): void {
  const name = at.toISOString().slice(0, 10);
  const day = days.get(name) ?? { day: name, placed: 0, unitsShipped: 0, takings: 0, refunded: 0 };
  days.set(name, day);
  if (event.type === 'OrderPlaced') day.placed += 1;
  if (event.type === 'OrderRefunded') day.refunded += event.amount.amount;
  if (event.type === 'OrderShipped') {
    day.takings += event.paid.amount;
    day.unitsShipped += order.lines.reduce((sum, line) => sum + line.quantity, 0);
  }
}

async function statesOf(
  tx: Transaction,
  generation: number,
  ids: ReadonlySet<string>,
): Promise<Map<string, OrderState>> {
  const rows = await tx.execute<{ id: string; state: Order }>(sql`
    SELECT id, state FROM order_summary
    WHERE generation = ${generation} AND id IN (SELECT json_array_elements_text(${JSON.stringify([...ids])}::text::json))`);
  return new Map(rows.map(({ id, state }) => [id, state]));
}

async function saveStates(
  tx: Transaction,
  generation: number,
  states: ReadonlyMap<string, OrderState>,
): Promise<void> {
  const rows = [...states].flatMap(([id, state]) =>
    state.status === 'none'
      ? []
      : [
          {
            id,
            status: state.status,
            customer_id: state.customerId ?? null,
            attention: state.problems.length > 0,
            placed_at: state.placedAt,
            updated_at: state.updatedAt,
            state,
          },
        ],
  );
  await tx.execute(sql`
    INSERT INTO order_summary AS s (generation, id, status, customer_id, attention, placed_at, updated_at, state)
    SELECT ${generation}::int, r.* FROM json_to_recordset(${JSON.stringify(rows)}::text::json)
      AS r (id text, status text, customer_id text, attention boolean, placed_at timestamptz, updated_at timestamptz, state json)
    ON CONFLICT (generation, id) DO UPDATE SET status = excluded.status, attention = excluded.attention,
      updated_at = excluded.updated_at, state = excluded.state`);
}

async function saveDays(tx: Transaction, generation: number, days: ReadonlyMap<string, Day>): Promise<void> {
  if (days.size === 0) return;
  const plus = (column: string) => sql.raw(`order_day.${column} + excluded.${column}`);
  await tx
    .insert(orderDay)
    .values([...days.values()].map((day) => ({ generation, ...day })))
    .onConflictDoUpdate({
      target: [orderDay.generation, orderDay.day],
      set: {
        placed: plus('placed'),
        unitsShipped: plus('units_shipped'),
        takings: plus('takings'),
        refunded: plus('refunded'),
      },
    });
}
