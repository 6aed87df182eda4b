import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs';
import { serve } from '@hono/node-server';
import { createProviderApp } from './app.ts';
import { createBooks, type Entry } from './books.ts';
import { createMishaps, type Pace } from './mishaps.ts';
import { createWebhookSender } from './webhooks.ts';

export interface ProviderOptions {
  port: number;
  host: string;
  apiKey: string;
  webhook?: { url: string; secret: string } | undefined;
  /** Keeps the books through a restart; without it they are in memory only. */
  stateFile?: string | undefined;
  pace?: Pace;
  log: (line: object) => void;
}

export interface Provider {
  port: number;
  close(): Promise<void>;
}

/** Starts the simulator; resolves when it listens. */
export async function runProvider(o: ProviderOptions): Promise<Provider> {
  const { stateFile } = o;
  const kept = stateFile === undefined ? [] : readEntries(stateFile);
  const mishaps = createMishaps(o.pace);
  // What a webhook was owed for is not known any more: whoever asks is answered.
  for (const { operation } of kept) mishaps.told(operation.key);
  const webhooks = o.webhook && createWebhookSender({ ...o.webhook, log: o.log });
  const app = createProviderApp({
    books: createBooks(kept),
    mishaps,
    apiKey: o.apiKey,
    webhooks,
    keep(entry) {
      if (stateFile !== undefined) appendFileSync(stateFile, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
    },
  });
  return new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, port: o.port, hostname: o.host }, ({ port }) =>
      resolve({
        port,
        async close() {
          webhooks?.stop();
          if ('closeAllConnections' in server) server.closeAllConnections();
          await new Promise<void>((done) => server.close(() => done()));
        },
      }),
    );
    server.on('error', reject);
  });
}

/** The lines of an earlier run. One that was not finished when the process ended is of an operation that nobody heard of: it goes. */
function readEntries(file: string): Entry[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  const complete = text.slice(0, text.lastIndexOf('\n') + 1);
  if (complete.length < text.length) truncateSync(file, Buffer.byteLength(complete));
  return complete
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Entry);
}
