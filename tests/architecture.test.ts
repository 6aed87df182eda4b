import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { catalog } from '@sidecart/contracts/catalog';
import type { ServiceTopology } from '@sidecart/contracts/service-topology';
import { SECRET_STORE, SERVICES, TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import type { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { rulesOf, type SourceFile, violations } from './architecture-rules.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (path: string) => readFileSync(join(root, path), 'utf8');

describe('who may import what', () => {
  const files: SourceFile[] = [
    'packages',
    'services',
    'clients',
    'platform',
    'provider',
    'local',
    'generator',
    'tests',
    'bench',
  ]
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|mjs)$/.test(name) && !name.includes('node_modules'))
        .map((name) => `${folder}/${name}`),
    )
    // These two hold forbidden imports as text.
    .filter((path) => !/^tests\/architecture/.test(path))
    .map((path) => ({ path, text: read(path) }));

  test('every file keeps the rules', () => {
    expect(files.length).toBeGreaterThan(100);
    expect(files.flatMap(violations)).toEqual([]);
  });

  test.each([
    ['packages/contracts/src/orders.ts', `import { db } from '@sidecart/kit/db';`],
    ['packages/contracts/src/orders.ts', `import { Hono } from 'hono';`],
    ['packages/kit/src/app.ts', `import { Order } from '@sidecart/contracts/orders';`],
    ['packages/kit/src/app.ts', `import { outbox } from '../../messaging/src/outbox.ts';`],
    ['packages/messaging/src/relay.ts', `import { catalog } from '@sidecart/contracts/catalog';`],
    ['services/orders/src/order.ts', `import { z } from 'zod';`],
    ['services/orders/src/order.ts', `import { insert } from './store.ts';`],
    ['services/orders/src/order.ts', 'const at = Date.now();'],
    ['services/orders/src/order-answers.ts', `import { commandsOf } from './checkout.ts';`],
    ['services/orders/src/order-gifts.ts', `import { readFileSync } from 'node:fs';`],
    ['services/orders/src/order-state.ts', 'const at = new Date();'],
    ['services/orders/src/checkout.ts', `import { catalog } from '@sidecart/contracts/catalog';`],
    ['services/orders/src/checkout.ts', `import {\n  createOutbox,\n} from '@sidecart/messaging/outbox';`],
    ['services/orders/src/checkout.ts', `import { db } from '@sidecart/kit/db';`],
    ['services/inventory/src/reservation.ts', `import { readFileSync } from 'node:fs';`],
    ['services/orders/src/routes.ts', `import { eq } from 'drizzle-orm';`],
    ['services/orders/src/subscriptions.ts', `import postgres from 'postgres';`],
    ['services/orders/src/quotes.ts', `import { products } from '@sidecart/products/store';`],
    ['services/orders/src/quotes.ts', `import { products } from '../../products/src/store.ts';`],
    ['services/orders/src/quotes.ts', `const store = await import('../../products/src/store.ts');`],
    ['platform/streams.ts', `import { natsUrl } from '../local/nats.ts';`],
    ['provider/app.ts', `import { Payment } from '@sidecart/contracts/payments';`],
    ['clients/demo.ts', `import { connectDatabase } from '@sidecart/kit/db';`],
    ['local/shop.ts', `import { migrate } from 'drizzle-orm/postgres-js/migrator';`],
    ['services/orders/src/quotes.ts', `import { DaprClient } from '@dapr/dapr';`],
    ['packages/messaging/src/relay.ts', `const sdk = await import('@dapr/dapr');`],
    ['services/orders/src/config.ts', 'const port = process.env.PORT;'],
    ['packages/kit/src/log.ts', 'const level = process.env.LOG_LEVEL;'],
    ['services/orders/src/publish.ts', `const component = 'pubsub-orders-0';`],
  ])('canary: %s with %s breaks them', (path, text) => {
    expect(violations({ path, text })).not.toEqual([]);
  });

  test.each([
    ['services/orders/src/main.ts', 'runService({ env: process.env });'],
    ['packages/kit/src/config.ts', ' * loadConfig(baseConfig, process.env)'],
    ['services/orders/src/routes.ts', `import { placeOrder } from './commands.ts';`],
    ['services/orders/src/order.ts', `import { giftOf } from './order-gifts.ts';`],
    ['services/orders/src/order.ts', `import { DomainError } from '@sidecart/kit/domain-error';`],
    ['services/orders/src/checkout.ts', `import type { Outbox } from '@sidecart/messaging/outbox';`],
  ])('control: %s with %s keeps them', (path, text) => {
    expect(violations({ path, text })).toEqual([]);
  });
});

describe('packages', () => {
  const manifest = (path: string) => JSON.parse(read(`${path}/package.json`));

  test.each(readdirSync(join(root, 'packages')))('%s is imported by subpath only', (name) => {
    const { exports } = manifest(`packages/${name}`);
    expect(exports).toEqual({ './*': './src/*.ts' });
  });

  test.each(SERVICES)('nobody can import %s, and it depends on no other service', (name) => {
    const { exports, dependencies } = manifest(`services/${name}`);
    expect(exports).toBeUndefined();
    expect(
      Object.keys(dependencies).filter((dependency) =>
        SERVICES.includes(dependency.replace('@sidecart/', '') as never),
      ),
    ).toEqual([]);
  });
});

describe.each(SERVICES)('%s', (name) => {
  const row: ServiceTopology = TOPOLOGY[name];
  const source = `services/${name}/src`;

  test('has the files that every service has', () => {
    const expected = ['main.ts', 'config.ts', 'app.ts', 'routes.ts', 'problems.ts', 'openapi.ts'];
    // One whose events are its truth has no rows to query, and tells the world by its process manager.
    const isEventSourced = existsSync(join(root, source, 'aggregate.ts'));
    if (row.database) expected.push('schema.ts', isEventSourced ? 'checkout.ts' : 'store.ts');
    if (row.owns && !isEventSourced) expected.push('publish.ts');
    if (row.subscriptions.length > 0) expected.push('subscriptions.ts');
    expect(expected.filter((file) => !existsSync(join(root, source, file)))).toEqual([]);
    expect(existsSync(join(root, `services/${name}/README.md`))).toBe(true);
    expect(existsSync(join(root, `services/${name}/migrations/meta/_journal.json`))).toBe(row.database);
  });

  if (row.database) {
    test('names in its README the file of its rules, which is held to do no I/O', () => {
      const path = `${source}/${rulesOf(name)}.ts`;
      expect(
        existsSync(join(root, path)),
        `${path}: README.md has "**Begin with** [src/...](...), the rules"`,
      ).toBe(true);
      expect(violations({ path, text: `import { readFileSync } from 'node:fs';` })).not.toEqual([]);
    });
  }

  test('keeps what is not its business under 120 lines', () => {
    const lines = ['main.ts', 'config.ts', 'app.ts'].map(
      (file) => read(`${source}/${file}`).split('\n').length,
    );
    expect(lines.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(120);
  });

  if (row.subscriptions.length > 0) {
    test('takes every message that its sidecar delivers, and no other', async () => {
      const { subscriptions } = await import(join(root, source, 'subscriptions.ts'));
      const handled: Record<string, { kind: string; handlers: object }> = subscriptions({}, () => new Date());
      const kinds = Object.entries(handled).map(([topic, { kind }]) => ({
        topic,
        kind,
        route: `/messages/${topic}`,
      }));
      expect(kinds).toHaveLength(row.subscriptions.length);
      expect(kinds).toEqual(expect.arrayContaining([...row.subscriptions]));
      for (const [topic, { kind, handlers }] of Object.entries(handled)) {
        const types = Object.entries(catalog).flatMap(([type, message]) =>
          message.topic === topic ? [type] : [],
        );
        expect(types).toEqual(expect.arrayContaining(Object.keys(handlers)));
        // A fact may be nobody's concern here; a command without a handler would be refused.
        if (kind === 'command') expect(Object.keys(handlers).sort()).toEqual(types.sort());
      }
    });

    const own = Object.entries(catalog).flatMap(([type, message]) =>
      'service' in message && message.service === name ? [type] : [],
    );
    if (own.length > 0) {
      test('handles every message that it sends to itself, and no other', async () => {
        const { messagesToItself } = await import(join(root, source, 'subscriptions.ts'));
        expect(Object.keys(messagesToItself({}, () => new Date())).sort()).toEqual(own.sort());
      });
    }

    test('has the route for them', async () => {
      const module: Record<string, (...deps: unknown[]) => Hono> = await import(join(root, source, 'app.ts'));
      const [create] = Object.values(module);
      const app = create?.(testDeps(name), {
        database: untouchedDatabase(),
        outbox: {},
        clock: () => new Date(),
        consumer: {},
      });
      const posts = app?.routes.filter(({ method }) => method === 'POST').map(({ path }) => path);
      expect(posts).toContainEqual(expect.stringMatching(/^\/messages\/:topic/));
    });
  }
});

test('the components in the constants are the components in the folder', () => {
  const named = new Set(SERVICES.flatMap((name) => [...TOPOLOGY[name].components]));
  const present = readdirSync(join(root, 'components'))
    .filter((file) => file.startsWith('pubsub-'))
    .map((file) => file.replace('.yaml', ''));
  expect([...named].sort()).toEqual(present.sort());
});

test('kit asks the secret store that the components ask', () => {
  expect(read('packages/kit/src/service.ts')).toContain(`'${SECRET_STORE}'`);
});
