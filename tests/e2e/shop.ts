import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { loadTopology } from '../../generator/topology.ts';
import { removeRunFolder } from '../../local/run-folder.ts';
import { type Shop, type ShopOptions, startShop } from '../../local/shop.ts';
import type { Movement } from '../../provider/books.ts';
import { until } from '../waiting.ts';

// biome-ignore lint/performance/noBarrelFile: what every end-to-end test needs comes from here
export { sleep, until } from '../waiting.ts';

/** Set by `--broker` (tests/run.ts): run the shop on this broker instead of the one that topology.yaml names. */
export const BROKER = process.env.SIDECART_TEST_BROKER;

/** Whatever is looked at is taken from the table, so that a service that joins it is looked at too. */
const table = loadTopology(fileURLToPath(new URL('../../topology.yaml', import.meta.url)));
export const SERVICES = table.services.map(({ name }) => name);
export const DATABASES = table.services.filter(({ database }) => database).map(({ name }) => name);
export const SIMULATORS = table.externals
  .filter(({ simulatorPort }) => simulatorPort !== undefined)
  .map(({ name }) => name);

/** A running shop as the end-to-end tests see it, be it processes of this machine or pods of a cluster. */
export interface Target extends Pick<Shop, 'gatewayUrl' | 'endpoints' | 'components' | 'adminUrl' | 'stop'> {
  /** What the service has logged so far. */
  log(service: string): Promise<string>;
  /** Takes a service away until `release`, which resolves when it is back. */
  hold(service: string): Promise<void>;
  release(service: string): Promise<void>;
  /** Every movement of money, by the provider's own books. */
  ledger(): Promise<Movement[]>;
}

/** One of processes of this machine, with all the ways to disturb them. */
export type LocalShop = Shop & Target & { runDir: string };

/** A whole shop of real processes for one test file, in a folder of its own; `stop` leaves nothing behind. */
export async function testShop(options: Partial<ShopOptions> = {}): Promise<LocalShop> {
  const runDir = await mkdtemp(join(tmpdir(), 'sidecart-e2e-'));
  const shop = await startShop({ runDir, ...(BROKER && { broker: BROKER }), ...options });
  return {
    ...shop,
    runDir,
    log: (service) => readFile(shop.find(service).logFile, 'utf8'),
    hold: (service) => shop.find(service).hold(),
    release: (service) => shop.find(service).release(),
    async ledger() {
      const { url = '' } = shop.processes().find(({ name }) => name === 'provider') ?? {};
      return (await call(url, 'GET', '/ledger')).body.items;
    },
    async stop() {
      await shop.stop();
      removeRunFolder(runDir);
    },
  };
}

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever came back
  body: any;
  text: string;
}

/** One request, one answer; a JSON body is parsed, anything else is kept as text. */
export async function call(
  base: string,
  method: string,
  path: string,
  o: { body?: unknown; raw?: string; headers?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Answer> {
  const body = o.raw ?? (o.body === undefined ? undefined : JSON.stringify(o.body));
  const response = await fetch(new URL(path, base), {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...o.headers },
    ...(body === undefined ? {} : { body }),
    signal: AbortSignal.timeout(o.timeoutMs ?? 20_000),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json');
  return {
    status: response.status,
    headers: response.headers,
    body: json ? JSON.parse(text) : undefined,
    text,
  };
}

export interface CallThrough {
  method?: string;
  /** The service asked; without one the request is to the sidecar itself. */
  appId?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A call through the sidecar of `from`, as that service itself would make it. */
export function callThrough(
  shop: Pick<Target, 'endpoints'>,
  from: string,
  path: string,
  { method = 'GET', appId, headers, ...body }: CallThrough = {},
): Promise<Answer> {
  const { daprHttpPort, daprApiToken } = shop.endpoints(from);
  return call(`http://127.0.0.1:${daprHttpPort}`, method, path, {
    headers: { 'dapr-api-token': daprApiToken, ...(appId ? { 'dapr-app-id': appId } : {}), ...headers },
    ...body,
  });
}

export const gbp = (amount: number) => ({ amount, currency: 'GBP' });

/** A product of its own for a test, with stock, ready to be ordered. */
export async function productWithStock(base: string, quantity: number, price = 250): Promise<string> {
  const sku = `T-${randomUUID().slice(0, 13)}`;
  const created = await call(base, 'POST', '/v1/products', {
    body: { sku, name: `Test ${sku}`, unit_price: gbp(price) },
  });
  if (created.status !== 201) throw new Error(`product not created: ${created.text}`);
  await until(
    `inventory to know ${sku}`,
    async () => (await call(base, 'GET', `/v1/stock/${sku}`)).status === 200,
  );
  if (quantity > 0) {
    const receipt = await call(base, 'POST', '/v1/stock/receipts', {
      body: { lines: [{ sku, quantity }] },
      headers: { 'idempotency-key': randomUUID() },
    });
    if (receipt.status !== 201) throw new Error(`stock not received: ${receipt.text}`);
  }
  return sku;
}

/** Places an order and returns the answer, whatever it is. */
export function placeOrder(
  base: string,
  lines: { sku: string; quantity: number; price?: number }[],
  o: { key?: string; token?: string; headers?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Answer> {
  return call(base, 'POST', '/v1/orders', {
    body: {
      ...(o.token && { payment_token: o.token }),
      lines: lines.map((line) => ({
        sku: line.sku,
        quantity: line.quantity,
        unit_price: gbp(line.price ?? 250),
      })),
    },
    headers: { 'idempotency-key': o.key ?? randomUUID(), ...o.headers },
    ...(o.timeoutMs ? { timeoutMs: o.timeoutMs } : {}),
  });
}

/** Places as a real client does: the same key again while the shop says that it cannot answer now. */
export async function placeUntilAccepted(
  base: string,
  lines: { sku: string; quantity: number; price?: number }[],
  timeoutMs = 60_000,
): Promise<string> {
  const key = randomUUID();
  const answer = await until(
    'an order to be accepted',
    async () => {
      const got = await placeOrder(base, lines, { key, timeoutMs: 8_000 });
      if (got.status === 201 || got.status === 200) return got;
      if (got.status < 500) throw new Error(`refused: ${got.text}`);
      return undefined;
    },
    timeoutMs,
    200,
  );
  return answer.body.id as string;
}

export async function orderStatus(base: string, id: string): Promise<string | undefined> {
  const answer = await call(base, 'GET', `/v1/orders/${id}`);
  return answer.status === 200 ? answer.body.status : undefined;
}

export function orderEnds(base: string, id: string, timeoutMs = 60_000): Promise<string> {
  return until(
    `order ${id} to reach its end`,
    async () => {
      const status = await orderStatus(base, id);
      return status && status !== 'placed' ? status : undefined;
    },
    timeoutMs,
  );
}

/** By delivery an order takes a second. Fetching takes ten at least for each of its four messages. */
const BY_DELIVERY_MS = 20_000;

/** One more order, which the repair alone could not bring to its end in time: fails unless everybody gets what the broker delivers. */
export async function orderByDelivery(base: string, sku: string): Promise<string> {
  return orderEnds(base, await placeUntilAccepted(base, [{ sku, quantity: 1 }]), BY_DELIVERY_MS);
}

export async function stockOf(base: string, sku: string) {
  return (await call(base, 'GET', `/v1/stock/${sku}`)).body as {
    on_hand: number;
    reserved: number;
    committed: number;
    received: number;
  };
}

/** Runs one query as the database's superuser: for looking behind the services, never part of what is tested. */
export async function query<T extends object>(
  shop: Pick<Target, 'adminUrl'>,
  database: string,
  text: string,
): Promise<T[]> {
  const sql = postgres(shop.adminUrl(database), { max: 1, onnotice: () => {} });
  try {
    return (await sql.unsafe(text)) as unknown as T[];
  } finally {
    await sql.end();
  }
}

/** Dead letters of every service; a healthy run has none. */
export async function deadLetters(shop: Pick<Target, 'adminUrl'>): Promise<object[]> {
  const all: object[] = [];
  for (const database of DATABASES)
    all.push(...(await query(shop, database, `SELECT '${database}' AS database, * FROM dead_letter`)));
  return all;
}
