import { readFileSync } from 'node:fs';
import { is, SQL, sql } from 'drizzle-orm';
import { getTableConfig, type PgColumn, PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import postgres from 'postgres';
import {
  consumerRun,
  deadLetter,
  deadLetterAction,
  inbox,
  inboxFailing,
  inboxKey,
  inboxParked,
  inboxStart,
  outbox,
  outboxDelayed,
  outboxLocal,
  outboxSequence,
  repairCursor,
  repairMissing,
} from './schema.ts';

const TABLES = [
  outbox,
  outboxLocal,
  outboxDelayed,
  outboxSequence,
  inbox,
  inboxKey,
  inboxParked,
  inboxFailing,
  inboxStart,
  consumerRun,
  deadLetter,
  deadLetterAction,
  repairCursor,
  repairMissing,
];

/** Makes the messaging tables as schema.ts, sent.sql and queues.sql describe them; a service gets them from its migrations instead. */
export async function createMessagingTables(ownerUrl: string): Promise<void> {
  const client = postgres(ownerUrl, { max: 1, onnotice: () => {} });
  try {
    for (const table of TABLES) {
      for (const statement of statementsFor(table)) await client.unsafe(statement);
    }
    for (const file of ['sent.sql', 'queues.sql'])
      await client.unsafe(readFileSync(new URL(`./${file}`, import.meta.url), 'utf8'));
  } finally {
    await client.end();
  }
}

/** What makes a table as its schema describes it. */
export function statementsFor(table: PgTable): string[] {
  const { name, columns, checks, primaryKeys, uniqueConstraints, indexes } = getTableConfig(table);
  const parts = [
    ...columns.map(columnDefinition),
    ...checks.map((check) => `CONSTRAINT "${check.name}" CHECK (${text(check.value)})`),
    ...primaryKeys.map((key) => `PRIMARY KEY (${names(key.columns)})`),
    ...uniqueConstraints.map((unique) => `CONSTRAINT "${unique.name}" UNIQUE (${names(unique.columns)})`),
  ];
  return [
    `CREATE TABLE "${name}" (${parts.join(', ')})`,
    ...indexes.map(
      ({ config }) =>
        `CREATE ${config.unique ? 'UNIQUE ' : ''}INDEX "${config.name}" ON "${name}" USING ${config.method} (${names(config.columns as PgColumn[])})` +
        (config.where ? ` WHERE ${text(config.where)}` : ''),
    ),
  ];
}

function columnDefinition(column: PgColumn): string {
  const fallback = column.default === undefined ? '' : ` DEFAULT ${valueText(column.default)}`;
  const way = column.generatedIdentity?.type === 'byDefault' ? 'BY DEFAULT' : 'ALWAYS';
  const identity = column.generatedIdentity ? ` GENERATED ${way} AS IDENTITY` : '';
  const key = column.primary ? ' PRIMARY KEY' : '';
  return `"${column.name}" ${column.getSQLType()}${identity}${fallback}${column.notNull ? ' NOT NULL' : ''}${key}`;
}

function names(columns: { name: string }[]): string {
  return columns.map((column) => `"${column.name}"`).join(', ');
}

function valueText(value: unknown): string {
  if (is(value, SQL)) return text(value);
  return `'${typeof value === 'object' ? JSON.stringify(value) : value}'`;
}

function text(value: SQL): string {
  return new PgDialect().sqlToQuery(sql`${value}`).sql;
}

/**
 * A message as the sidecar delivers it, for tests of a service's subscriptions.
 *
 * @example
 * await callJson(app, 'POST', '/messages/inventory', delivery('StockReserved', { order_id, lines }, { key: order_id }),
 *   { 'content-type': 'application/cloudevents+json' });
 */
export function delivery(
  type: string,
  data: unknown,
  o: {
    id: string;
    key: string;
    sequence?: number;
    actor?: string;
    correlationId?: string;
    traceparent?: string;
  },
): string {
  return JSON.stringify({
    specversion: '1.0',
    id: o.id,
    source: '/sidecart/test',
    type,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    partitionkey: o.key,
    sequence: String(o.sequence ?? 1),
    ...(o.actor !== undefined && { actor: o.actor }),
    ...(o.correlationId !== undefined && { correlationid: o.correlationId }),
    ...(o.traceparent !== undefined && { traceparent: o.traceparent }),
    data,
  });
}
