import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { deadLetters, productWithStock, query, stockOf, type Target, until } from '../e2e/shop.ts';
import type { ClusterAccess } from './cluster-shop.ts';
import { topology } from './cluster-shop.ts';
import { apply, kubectl } from './kubectl.ts';
import type { LoadReport } from './load-program.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { restrictedPod } from './restricted-pod.ts';

const NAMESPACE = 'shop-load';
const POD = 'load';

/** What the small machine of a developer does beside three copies of a service. */
const ORDERS_PER_SECOND = 8;
const READS_PER_SECOND = 16;

export interface Load {
  /** Where the shop is. */
  namespace: string;
  /** The products that it orders. */
  skus: string[];
  /** Ends it, when every request has its answer. */
  stop(): Promise<LoadReport>;
}

/**
 * Orders and reads at a constant rate through the gateway's Service, from a pod of its own: unlike a port-forward, which is to
 * one pod, it meets whatever pods stand behind the Service, as a client does.
 */
export async function startLoad(shop: Target, { namespace, images }: ClusterAccess): Promise<Load> {
  const plenty = [
    await productWithStock(shop.gatewayUrl, 100_000),
    await productWithStock(shop.gatewayUrl, 100_000),
  ];
  // Soon sold out: rejections are an end too.
  const few = await productWithStock(shop.gatewayUrl, 50);
  const skus = [...plenty, few];
  const program = readFileSync(new URL('load-program.ts', import.meta.url), 'utf8');
  const url = `http://${topology.edge}.${namespace}.svc`;
  await makeNamespace(NAMESPACE);
  const { metadata, spec, ...pod } = restrictedPod(POD, NAMESPACE, images[topology.edge] ?? '', [
    '/load/load-program.ts',
    url,
    `${ORDERS_PER_SECOND}`,
    `${READS_PER_SECOND}`,
    ...skus,
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
        60_000,
        500,
      );
      await removeNamespace(NAMESPACE);
      return report;
    },
  };
}

/** Every request got an answer that may be expected, every order its end, and the stock is what the orders left of it. */
export async function expectNothingLost(shop: Target, load: Load, report: LoadReport): Promise<void> {
  expect(report.faults, await whatTheLogsSay(load.namespace, report)).toEqual([]);
  expect(report.orders.length).toBeGreaterThan(0);
  const ids = report.orders.map((id) => `'${id}'`).join(',');
  const byStatus = async () =>
    Object.fromEntries(
      (
        await query<{ status: string; n: number }>(
          shop,
          'orders',
          `SELECT status, count(*)::int AS n FROM (
             SELECT DISTINCT ON (stream_id) lower(substr(type, 6)) AS status FROM events WHERE stream_id IN (${ids})
               AND type IN ('OrderPlaced', 'OrderConfirmed', 'OrderRejected', 'OrderCancelled')
             ORDER BY stream_id, version DESC
           ) AS orders GROUP BY 1`,
        )
      ).map(({ status, n }) => [status, n]),
    ) as Record<string, number>;
  const ends = await until(
    'every order to reach its end',
    async () => {
      const now = await byStatus();
      return !now.placed && now;
    },
    120_000,
    500,
  );
  expect((ends.confirmed ?? 0) + (ends.rejected ?? 0)).toBe(report.orders.length);
  const committed = async () => {
    const stock = await Promise.all(load.skus.map((sku) => stockOf(shop.gatewayUrl, sku)));
    expect(stock.every((s) => s.received === s.on_hand + s.reserved + s.committed)).toBe(true);
    return stock.reduce((sum, s) => sum + s.committed, 0);
  };
  await until('the stock to move once', async () => (await committed()) === ends.confirmed, 60_000, 500);
  expect(await deadLetters(shop)).toEqual([]);
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
