/**
 * Constant load on the shop through its Service, from a pod: it runs as one file on the Node of the shop's images, so it imports
 * nothing but Node's own modules. Ends when the file /tmp/stop appears, and then prints one line of JSON, a LoadReport.
 * Arguments: the gateway's URL, orders per second, reads per second, products to order and read.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Agent, request } from 'node:http';

/** What became of the load. Times are milliseconds since 1970. */
export interface LoadReport {
  began: number;
  ended: number;
  /** Requests answered, by status. */
  byStatus: Record<string, number>;
  /** Requests without an answer that may be expected. */
  faults: { at: number; what: string; tookMs: number; answer: string }[];
  /** Every order that was accepted. */
  orders: string[];
  /** Of all answers, in milliseconds. */
  latency: { p50: number; p99: number; max: number };
}

const [url = '', ordersPerSecond = '5', readsPerSecond = '10', ...skus] = process.argv.slice(2);

/** Half of the clients keep their connection, half make one for each request: both kinds exist, and fail in different ways. */
const agents = [new Agent({ keepAlive: true, maxSockets: 8 }), new Agent({ keepAlive: false })];
const TIMEOUT_MS = 15_000;
/** Nothing but success: no price changes here and no product is taken away, every order has a key of its own. */
const EXPECTED = new Set([200, 201]);

const report: Omit<LoadReport, 'latency'> = {
  began: Date.now(),
  ended: 0,
  byStatus: {},
  faults: [],
  orders: [],
};
const took: number[] = [];
let count = 0;

function send(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
  count += 1;
  const agent = agents[count % agents.length] as Agent;
  const headers = body && { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  return new Promise((done, fail) => {
    const outgoing = request(
      new URL(path, url),
      { method, agent, headers, timeout: TIMEOUT_MS },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => done({ status: response.statusCode ?? 0, text }));
        response.on('error', fail);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    outgoing.on('error', fail);
    outgoing.end(body && JSON.stringify(body));
  });
}

async function recorded(method: string, path: string, body?: object): Promise<void> {
  const at = Date.now();
  const fault = (answer: string) =>
    report.faults.push({ at, what: `${method} ${path}`, tookMs: Date.now() - at, answer });
  try {
    const { status, text } = await send(method, path, body);
    took.push(Date.now() - at);
    report.byStatus[status] = (report.byStatus[status] ?? 0) + 1;
    if (!EXPECTED.has(status)) fault(`${status} ${text.slice(0, 300)}`);
    if (status === 201) report.orders.push(JSON.parse(text).id);
  } catch (err) {
    fault(`${(err as NodeJS.ErrnoException).code ?? ''} ${(err as Error).message}`);
  }
}

const anySku = () => skus[Math.floor(Math.random() * skus.length)] ?? '';

function order(): Promise<void> {
  const lines = [{ sku: anySku(), quantity: 1, unit_price: { amount: 250, currency: 'GBP' } }];
  return recorded('POST', '/v1/orders', { lines });
}

function read(): Promise<void> {
  const latest = report.orders.at(-1);
  const paths = [
    `/v1/stock/${anySku()}`,
    `/v1/products/${anySku()}`,
    latest ? `/v1/orders/${latest}` : '/v1/orders',
  ];
  return recorded('GET', paths[count % paths.length] ?? '');
}

const underWay = new Set<Promise<void>>();
function every(perSecond: number, work: () => Promise<void>): NodeJS.Timeout {
  return setInterval(() => {
    const one = work().finally(() => underWay.delete(one));
    underWay.add(one);
  }, 1000 / perSecond);
}

const timers = [every(Number(ordersPerSecond), order), every(Number(readsPerSecond), read)];
const stopper = setInterval(async () => {
  if (!existsSync('/tmp/stop')) return;
  for (const timer of [...timers, stopper]) clearInterval(timer);
  await Promise.all(underWay);
  took.sort((a, b) => a - b);
  const quantile = (q: number) => took[Math.min(took.length - 1, Math.floor(q * took.length))] ?? 0;
  const latency = { p50: quantile(0.5), p99: quantile(0.99), max: took.at(-1) ?? 0 };
  console.log(JSON.stringify({ ...report, ended: Date.now(), latency } satisfies LoadReport));
  process.exit(0);
}, 200);
console.log('load runs');
