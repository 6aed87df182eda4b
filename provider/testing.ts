import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { Movement } from './books.ts';
import type { Faults } from './mishaps.ts';

/** What the simulator and its customer know of each other, in tests. */
export const API_KEY = 'test-key-0123456789';
export const WEBHOOK_SECRET = `whsec_${Buffer.from('a secret that both sides know').toString('base64')}`;

/** The real simulator, as a process of its own. */
export interface TestProvider {
  url: string;
  port: number;
  ask(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<ProviderAnswer>;
  faults(faults: Faults): Promise<void>;
  /** Every movement of money, or those of one reference. */
  ledger(reference?: string): Promise<Movement[]>;
  /** Ends it by force, and starts it anew on the same port with the same books. */
  restart(): Promise<void>;
  kill(): Promise<void>;
}

export interface ProviderAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reaches into whatever came back
  body: any;
}

/** Starts it. Whoever starts it ends it: `kill`. */
export async function startTestProvider(
  o: { webhookUrl?: string; slowMs?: number; lateMs?: number } = {},
): Promise<TestProvider> {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-provider-'));
  let child: ChildProcess | undefined;
  let port = 0;

  async function start(): Promise<void> {
    child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('main.ts', import.meta.url))], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        PORT: String(port),
        API_KEY,
        WEBHOOK_SECRET,
        STATE_FILE: join(folder, 'operations.jsonl'),
        ...(o.webhookUrl !== undefined && { WEBHOOK_URL: o.webhookUrl }),
        ...(o.slowMs !== undefined && { SLOW_MS: String(o.slowMs) }),
        ...(o.lateMs !== undefined && { LATE_MS: String(o.lateMs) }),
      },
    });
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    port = await new Promise<number>((resolve, reject) => {
      lines.on('line', (text) => {
        const line = JSON.parse(text) as { msg?: string; port?: number; cure?: string };
        if (line.msg === 'ready' && line.port) resolve(line.port);
      });
      child?.once('exit', (code) => reject(new Error(`the provider ended with ${code}`)));
    });
  }

  async function kill(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  await start();
  const provider: TestProvider = {
    url: `http://127.0.0.1:${port}`,
    port,
    async ask(method, path, body, headers = {}) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json', ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: answer.status, body: await answer.json() };
    },
    async faults(faults) {
      await provider.ask('PUT', '/faults', faults);
    },
    async ledger(reference) {
      const { items } = (await provider.ask('GET', '/ledger')).body as { items: Movement[] };
      if (reference === undefined) return items;
      const own = new Set(
        items.filter((item) => item.reference === reference).map((item) => item.authorisation_id),
      );
      return items.filter((item) => own.has(item.authorisation_id));
    },
    async restart() {
      await kill();
      await start();
    },
    async kill() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return provider;
}

/** A webhook as it arrived. */
export interface ReceivedWebhook {
  headers: Record<string, string>;
  body: string;
}

/** Listens for webhooks until the test ends; `answer` says what they are answered. */
export async function receiveWebhooks(
  answer: (webhook: ReceivedWebhook, before: number) => number | Promise<number> = () => 204,
): Promise<{ url: string; received: ReceivedWebhook[] }> {
  const received: ReceivedWebhook[] = [];
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const webhook = { headers: req.headers as Record<string, string>, body };
    const before = received.push(webhook) - 1;
    const status = await answer(webhook, before);
    res.writeHead(status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks`, received };
}
