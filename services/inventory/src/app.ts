import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import type { InventoryDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';
import { subscriptions } from './subscriptions.ts';

/** The HTTP side of inventory: what clients ask for, and what the sidecar delivers. */
export function createInventoryApp(base: Omit<AppOptions, 'service'>, deps: InventoryDeps): OpenAPIHono {
  const app = createApp({ ...base, service: 'inventory' });
  mountRoutes(app, deps);
  const topics = subscriptions(deps.outbox);
  mountConsumer(app, createConsumer({ ...base, service: 'inventory', database: deps.database, topics }));
  return app;
}
