import type { Hono } from 'hono';
import type { Database } from './db.ts';
import { createHealth, type Health } from './health.ts';
import { createLogger, type Logger } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';

/** The token that {@link callJson} sends and {@link testDeps} expects. */
export const TEST_TOKEN = 'test-app-token-0123456789';

/** What createApp and most workers want: a silent log, fresh metrics, a ready process. */
export function testDeps(service = 'test'): {
  service: string;
  log: Logger;
  metrics: Metrics;
  health: Health;
  appToken: string;
} {
  const health = createHealth(service);
  health.setReady(true);
  return {
    service,
    log: createLogger({ service, level: 'silent' }),
    metrics: createMetrics(service),
    health,
    appToken: TEST_TOKEN,
  };
}

/** A database that fails the test when it is used: for what must be refused before anything is stored. */
export function untouchedDatabase(): Database {
  const untouched = new Proxy(
    {},
    {
      get(_, name) {
        throw new Error(`The database was touched: ${String(name)}`);
      },
    },
  );
  return { db: untouched, sql: untouched, url: '', close: async () => {} } as unknown as Database;
}

export interface JsonAnswer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test reaches into whatever came back
  body: any;
}

/**
 * Calls an app without a socket, with the app token. A string body is sent as it is, anything else as JSON.
 *
 * @example
 * const { status, body } = await callJson(app, 'POST', '/v1/orders', { lines: [] }, { 'idempotency-key': 'k1' });
 */
export async function callJson(
  // biome-ignore lint/suspicious/noExplicitAny: apps of any environment
  app: Hono<any>,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<JsonAnswer> {
  const init: RequestInit = { method, headers: { 'dapr-api-token': TEST_TOKEN, ...headers } };
  if (body !== undefined) {
    init.body = typeof body === 'string' ? body : JSON.stringify(body);
    init.headers = { 'content-type': 'application/json', ...init.headers };
  }
  const answer = await app.request(path, init);
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: parseOr(text) };
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
