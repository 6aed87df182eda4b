import type { OpenAPIHono } from '@hono/zod-openapi';
import { type EventStoreRoutes, mountEventStore } from '@sidecart/event-sourcing/event-store-routes';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { Consumer } from '@sidecart/messaging/consumer';
import type { Handler } from '@sidecart/messaging/handler';
import { mountMessages } from '@sidecart/messaging/mount';
import { order } from './aggregate.ts';
import type { OrderDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of orders: what clients ask for, what the sidecar delivers, and what an operator asks of its events. */
export function createOrdersApp(
  base: Omit<AppOptions, 'service'>,
  deps: OrderDeps &
    Omit<EventStoreRoutes, 'aggregates'> & { consumer: Consumer; local: Record<string, Handler> },
): OpenAPIHono {
  const app = createApp({ ...base, service: 'orders' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'orders' });
  mountEventStore(app, { ...deps, aggregates: [order] });
  return app;
}
