/**
 * Constant load on the shop through its Service, from a pod: it runs as one file on the Node of the shop's images, so it imports
 * nothing but Node's own modules. Ends when the file /tmp/stop appears, and then prints one line of JSON, a LoadReport.
 * Its argument is a LoadPlan, as JSON.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Agent, request } from 'node:http';

/** What to do to the shop. */
export interface LoadPlan {
  /** The gateway's. */
  url: string;
  ordersPerSecond: number;
  readsPerSecond: number;
  /** One order in so many is packed and handed over. */
  handOverOneIn: number;
  /** Products to order and read, and what each costs. */
  skus: string[];
  price: number;
  /** Paths to read, one after the other, as in `/v1/stock/{sku}`. */
  reads: string[];
}

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
  /** Those of them that were handed over. */
  handedOver: string[];
  /** Of all answers, in milliseconds. */
  latency: { p50: number; p99: number; max: number };
}

const plan: LoadPlan = JSON.parse(process.argv[2] ?? '');

/** Half of the clients keep their connection, half make one for each request: both kinds exist, and fail in different ways. */
const agents = [new Agent({ keepAlive: true, maxSockets: 8 }), new Agent({ keepAlive: false })];
const TIMEOUT_MS = 15_000;
/** An order under load is at its shipment, or rejected, after a second or two. */
const SHIPMENT_EVERY_MS = 1_500;
const SHIPMENT_WITHIN_MS = 60_000;
/** Nothing but success: no price changes here and no product is taken away, every order has a key of its own. */
const EXPECTED = new Set([200, 201]);

const report: Omit<LoadReport, 'latency'> = {
  began: Date.now(),
  ended: 0,
  byStatus: {},
  faults: [],
  orders: [],
  handedOver: [],
};
const took: number[] = [];
let count = 0;

function send(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
  count += 1;
  const agent = agents[count % agents.length] as Agent;
  const headers = body && { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  return new Promise((done, fail) => {
    const outgoing = request(
      new URL(path, plan.url),
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

// biome-ignore lint/suspicious/noExplicitAny: whatever the shop answers
async function recorded(method: string, path: string, body?: object): Promise<any> {
  const at = Date.now();
  const fault = (answer: string) =>
    report.faults.push({ at, what: `${method} ${path}`, tookMs: Date.now() - at, answer });
  try {
    const { status, text } = await send(method, path, body);
    took.push(Date.now() - at);
    report.byStatus[status] = (report.byStatus[status] ?? 0) + 1;
    if (EXPECTED.has(status)) return JSON.parse(text);
    fault(`${status} ${text.slice(0, 300)}`);
  } catch (err) {
    fault(`${(err as NodeJS.ErrnoException).code ?? ''} ${(err as Error).message}`);
  }
}

const anySku = () => plan.skus[Math.floor(Math.random() * plan.skus.length)] ?? '';

async function order(): Promise<void> {
  const lines = [{ sku: anySku(), quantity: 1, unit_price: { amount: plan.price, currency: 'GBP' } }];
  const placed = await recorded('POST', '/v1/orders', { lines });
  if (!placed) return;
  report.orders.push(placed.id);
  // Read at once, for whoever ordered looks at once.
  seen.set('/v1/orders', placed.id);
  if (report.orders.length % plan.handOverOneIn === 0) await handOver(placed.id);
}

/** As the warehouse does: waits until there is something to pack, packs all of it, and gives it to the carrier. */
async function handOver(order: string): Promise<void> {
  const shipment = await shipmentOf(order);
  if (!shipment) return;
  const packed = await recorded('POST', `/v1/shipments/${shipment}/packages`, {});
  if (!packed) return;
  if (await recorded('POST', `/v1/shipments/${shipment}/hand-over`, { carrier: 'Post' }))
    report.handedOver.push(order);
}

/** Undefined when the order is rejected, or a request failed. */
async function shipmentOf(order: string): Promise<string | undefined> {
  const path = `/v1/shipments?order_id=${order}`;
  for (const end = Date.now() + SHIPMENT_WITHIN_MS; Date.now() < end; ) {
    await new Promise((done) => setTimeout(done, SHIPMENT_EVERY_MS));
    const found = await recorded('GET', path);
    if (!found || found.items.length > 0) return found?.items[0].id;
    const { status } = (await recorded('GET', `/v1/orders/${order}`)) ?? {};
    if (status === 'rejected' || status === undefined) return undefined;
  }
  report.faults.push({
    at: Date.now(),
    what: path,
    tookMs: SHIPMENT_WITHIN_MS,
    answer: `still none, ${SHIPMENT_WITHIN_MS} ms after the order was placed`,
  });
  return undefined;
}

/** What was seen last in each list, to be read by itself. */
const seen = new Map<string, string>();
let reads = 0;

async function read(): Promise<void> {
  const template = plan.reads[reads++ % plan.reads.length] ?? '';
  const [collection = ''] = template.split('/{id}');
  const id = seen.get(collection);
  // Before anything was seen there is the list.
  const path = template.includes('{id}') && !id ? collection : template;
  const answer = await recorded('GET', path.replace('{id}', id ?? '').replace('{sku}', anySku()));
  const first = answer?.items?.[0]?.id;
  if (first && path === collection) seen.set(collection, first);
}

const underWay = new Set<Promise<void>>();
function every(perSecond: number, work: () => Promise<void>): NodeJS.Timeout {
  return setInterval(() => {
    const one = work().finally(() => underWay.delete(one));
    underWay.add(one);
  }, 1000 / perSecond);
}

const timers = [every(plan.ordersPerSecond, order), every(plan.readsPerSecond, read)];
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
