import { defineConfig } from 'vitest/config';

const common = { environment: 'node' as const, include: [] as string[] };

/** Tests are named by what they cost: `x.test.ts` no I/O, `x.int.test.ts` one real process or database, `x.e2e.test.ts` the whole shop, `x.cluster.test.ts` a Kubernetes. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: [
            '{packages,services,generator,platform,provider,k8s,local,clients,operate,tests,bench}/**/*.test.ts',
          ],
          exclude: ['**/node_modules/**', '**/*.{int,e2e,fault,cluster}.test.ts'],
        },
      },
      {
        test: {
          ...common,
          name: 'int',
          include: [
            '{packages,services,generator,platform,provider,k8s,local,clients,operate,tests}/**/*.int.test.ts',
          ],
          globalSetup: ['tests/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        // The services as they are on a schema that is one migration ahead: what a rolling update makes of the old version.
        test: {
          ...common,
          name: 'next-schema',
          include: ['services/**/*.int.test.ts'],
          // Of the way through a sidecar, which no schema changes; its statements are those of worker.int.test.ts.
          exclude: ['**/node_modules/**', 'services/payments/src/sidecar.int.test.ts'],
          globalSetup: ['tests/global-setup.ts'],
          env: { SIDECART_NEXT_SCHEMA: '1' },
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          ...common,
          name: 'e2e',
          include: ['tests/e2e/**/*.e2e.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          ...common,
          name: 'faults',
          include: ['tests/faults/**/*.fault.test.ts'],
          globalSetup: ['tests/global-setup.ts'],
          testTimeout: 900_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        // What only a cluster can show, and the same end-to-end tests where they make sense there. The others hold processes of this
        // machine by the hand, and most have their like in tests/cluster: faults, payments-kills and checkout-kills
        // (pod-deletion), outage (outage), replicas (rolling), opened-rule (callers). checkout-kills also watches an order's
        // step by the millisecond, which no deletion of a pod is quick enough for; start is about the local runner
        // alone, as is chaos; redis is about another broker, overdue needs a deadline of seconds, certificates ones that end
        // in seconds.
        test: {
          ...common,
          name: 'cluster',
          include: [
            'tests/cluster/**/*.cluster.test.ts',
            'tests/e2e/{order,payments,events,bad-input,clients,dlq,least-privilege}.e2e.test.ts',
          ],
          globalSetup: ['tests/cluster/global-setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
