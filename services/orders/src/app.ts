import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { Consumer } from '@sidecart/messaging/consumer';
import { mountMessages } from '@sidecart/messaging/mount';
import type { OrderDeps } from './commands.ts';
import type { HistoryDeps } from './history.ts';
import { mountRoutes } from './routes.ts';
import { messagesToItself } from './subscriptions.ts';

/** The HTTP side of orders: what clients ask for, and what the sidecar delivers. */
export function createOrdersApp(
  base: Omit<AppOptions, 'service'>,
  deps: OrderDeps & HistoryDeps & { consumer: Consumer },
): OpenAPIHono {
  const app = createApp({ ...base, service: 'orders' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'orders', local: messagesToItself(deps, deps.clock) });
  return app;
}
