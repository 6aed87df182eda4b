import { bigint, pgTable, text } from 'drizzle-orm/pg-core';
import pg from 'pg';

/** What a service does with its own data in the transaction that also writes the message. */
export const BUSINESS_TABLE =
  'CREATE TABLE business (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, note text NOT NULL)';
/** The same for drizzle. */
export const business = pgTable('business', {
  id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
  customer: text('customer').notNull(),
  note: text('note').notNull(),
});
export const BUSINESS_NOTE = 'x'.repeat(100);

const INSERT = {
  name: 'business',
  text: 'INSERT INTO business (customer, note) VALUES ($1, $2)',
};

/** Connections of node-postgres for the writers of the arms that are built on it. They send without waiting for what was sent before, as this project's do. */
export const writerPool = (url: string, writers: number) =>
  new pg.Pool({ connectionString: url, max: writers, pipeline: true });

/** One business transaction with node-postgres; `put` writes the messages in it, on their way together with BEGIN and the change. */
export async function businessTransaction(
  pool: pg.Pool,
  customer: string,
  put: (client: pg.PoolClient) => Promise<unknown>,
): Promise<void> {
  const client = await pool.connect();
  try {
    const change = { ...INSERT, values: [customer, BUSINESS_NOTE] };
    await Promise.all([client.query('BEGIN'), client.query(change), put(client)]);
    await client.query('COMMIT');
    client.release();
  } catch (err) {
    client.release(true);
    throw err;
  }
}

export async function countRows(pool: pg.Pool, query: string): Promise<number> {
  const { rows } = await pool.query<{ n: string }>(query);
  return Number(rows[0]?.n);
}
