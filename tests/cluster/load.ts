import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Topology } from '../../generator/topology.ts';
import { deadLetters, productWithStock, query, stockOf, type Target, until } from '../e2e/shop.ts';
import { eventually } from '../waiting.ts';
import type { ClusterAccess } from './cluster-shop.ts';
import { topology } from './cluster-shop.ts';
import { apply, kubectl } from './kubectl.ts';
import { type Books, bookFaults, LOAD_PRICE } from './load-books.ts';
import type { LoadPlan, LoadReport } from './load-program.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { restrictedPod } from './restricted-pod.ts';

const NAMESPACE = 'shop-load';
const POD = 'load';

/** What the small machine of a developer does beside three copies of a service. */
const RATES = { ordersPerSecond: 8, readsPerSecond: 16, handOverOneIn: 4 };

/** Everything that can be read through the gateway, so that a roll-out of any service meets requests to it. */
function publicReads({ calls }: Topology): string[] {
  return calls
    .filter(({ forwarded }) => forwarded)
    .flatMap(({ operations }) => operations)
    .filter(({ method }) => method === 'GET')
    .map(({ path }) => path);
}

export interface Load {
  /** Where the shop is. */
  namespace: string;
  /** The products that it orders. */
  skus: string[];
  /** Ends it, when every request has its answer. */
  stop(): Promise<LoadReport>;
}

/**
 * Orders, hand-overs and reads at a constant rate through the gateway's Service, from a pod of its own: unlike a port-forward, which is to
 * one pod, it meets whatever pods stand behind the Service, as a client does.
 */
export async function startLoad(shop: Target, { namespace, images }: ClusterAccess): Promise<Load> {
  const plenty = [
    await productWithStock(shop.gatewayUrl, 100_000, LOAD_PRICE),
    await productWithStock(shop.gatewayUrl, 100_000, LOAD_PRICE),
  ];
  // Soon sold out: rejections are an end too.
  const few = await productWithStock(shop.gatewayUrl, 50, LOAD_PRICE);
  const skus = [...plenty, few];
  const program = readFileSync(new URL('load-program.ts', import.meta.url), 'utf8');
  const plan: LoadPlan = {
    ...RATES,
    url: `http://${topology.edge}.${namespace}.svc`,
    skus,
    price: LOAD_PRICE,
    reads: publicReads(topology),
  };
  await makeNamespace(NAMESPACE);
  const { metadata, spec, ...pod } = restrictedPod(POD, NAMESPACE, images[topology.edge] ?? '', [
    '/load/load-program.ts',
    JSON.stringify(plan),
  ]);
  spec.containers[0]?.volumeMounts.push({ name: 'load', mountPath: '/load' });
  await apply([
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'load', namespace: NAMESPACE },
      data: { 'load-program.ts': program },
    },
    {
      ...pod,
      metadata,
      spec: { ...spec, volumes: [...spec.volumes, { name: 'load', configMap: { name: 'load' } }] },
    },
  ]);
  const output = () => kubectl(['logs', '-n', NAMESPACE, POD]);
  await until('the load to run', async () => (await output()).includes('load runs'), 60_000, 500);

  return {
    namespace,
    skus,
    async stop() {
      await kubectl(['exec', '-n', NAMESPACE, POD, '--', 'touch', '/tmp/stop']);
      const report = await until(
        'the load to end',
        async () => {
          const last = (await output()).trim().split('\n').at(-1) ?? '';
          return last.startsWith('{') && (JSON.parse(last) as LoadReport);
        },
        120_000,
        500,
      );
      await removeNamespace(NAMESPACE);
      return report;
    },
  };
}

/**
 * Every request got an answer that may be expected, every order its end, the stock is what the orders left of it, and money and
 * shipments are those of the orders, once each.
 */
export async function expectNothingLost(shop: Target, load: Load, report: LoadReport): Promise<void> {
  expect(report.faults, await whatTheLogsSay(load.namespace, report)).toEqual([]);
  expect(report.orders.length).toBeGreaterThan(0);
  expect(report.handedOver.length).toBeGreaterThan(0);
  const ids = report.orders.map((id) => `'${id}'`).join(',');
  const ends = await until(
    'every order to reach its end, and those that were handed over to be paid',
    async () => {
      const now = await endsOf(shop, ids);
      const paid = report.handedOver.every((id) => now.get(id) === 'shipped');
      return paid && ![...now.values()].includes('placed') && now;
    },
    120_000,
    500,
  );
  expect(ends.size).toBe(report.orders.length);
  expect([...ends.values()]).not.toContain('cancelled');
  const left = [...ends.values()].filter((end) => end !== 'rejected').length;
  const committed = async () => {
    const stock = await Promise.all(load.skus.map((sku) => stockOf(shop.gatewayUrl, sku)));
    expect(stock.every((s) => s.received === s.on_hand + s.reserved + s.committed)).toBe(true);
    return stock.reduce((sum, s) => sum + s.committed, 0);
  };
  await until('the stock to move once', async () => (await committed()) === left, 60_000, 500);
  // Shipping hears of an order after its confirmation. Books that cannot be read are no books that agree.
  await eventually(async () => expect(bookFaults(ends, await booksOf(shop, ids))).toEqual([]), 60_000);
  expect(await deadLetters(shop)).toEqual([]);
}

/** How far each order is, by its events. */
async function endsOf(shop: Target, ids: string): Promise<Map<string, string>> {
  const rows = await query<{ id: string; status: string }>(
    shop,
    'orders',
    `SELECT DISTINCT ON (stream_id) stream_id AS id, lower(substr(type, 6)) AS status FROM events WHERE stream_id IN (${ids})
       AND type IN ('OrderPlaced', 'OrderConfirmed', 'OrderRejected', 'OrderCancelled', 'OrderShipped')
     ORDER BY stream_id, version DESC`,
  );
  return new Map(rows.map(({ id, status }) => [id, status]));
}

async function booksOf(shop: Target, ids: string): Promise<Books> {
  return {
    ledger: await shop.ledger(),
    payments: await query(
      shop,
      'payments',
      `SELECT order_id, status, authorised::int, captured::int, refunded::int FROM payments WHERE order_id IN (${ids})`,
    ),
    shipments: await query(
      shop,
      'shipping',
      `SELECT order_id, status FROM shipments WHERE order_id IN (${ids})`,
    ),
  };
}

/** For the first requests that failed: when that was, and the lines of the pods' logs with the trace that the answer names. */
async function whatTheLogsSay(namespace: string, { faults, began }: LoadReport): Promise<string> {
  const parts: string[] = [];
  for (const { at, answer } of faults.slice(0, 3)) {
    const trace = /"trace_id":"(\w+)"/.exec(answer)?.[1];
    parts.push(`${((at - began) / 1000).toFixed(1)} s after the load began; trace ${trace ?? 'unknown'}`);
    if (!trace) continue;
    const all = [
      'logs',
      '-n',
      namespace,
      '-l',
      'app.kubernetes.io/part-of=sidecart',
      '--all-containers',
      '--prefix',
    ];
    const log = await kubectl([...all, '--tail=-1', '--max-log-requests=50']).catch(String);
    parts.push(...log.split('\n').filter((line) => line.includes(trace)));
  }
  return parts.join('\n');
}
