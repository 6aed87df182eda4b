import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import type { OrderDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';
import { subscriptions } from './subscriptions.ts';

/** The HTTP side of orders: what clients ask for, and what the sidecar delivers. */
export function createOrdersApp(base: Omit<AppOptions, 'service'>, deps: OrderDeps): OpenAPIHono {
  const app = createApp({ ...base, service: 'orders' });
  mountRoutes(app, deps);
  const topics = subscriptions(deps.outbox, deps.clock);
  mountConsumer(app, createConsumer({ ...base, service: 'orders', database: deps.database, topics }));
  return app;
}
