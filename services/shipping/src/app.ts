import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { Consumer } from '@sidecart/messaging/consumer';
import { mountMessages } from '@sidecart/messaging/mount';
import type { ShippingDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of shipping: what the warehouse asks for, and what the sidecar delivers. */
export function createShippingApp(
  base: Omit<AppOptions, 'service'>,
  deps: ShippingDeps & { consumer: Consumer },
): OpenAPIHono {
  const app = createApp({ ...base, service: 'shipping' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'shipping' });
  return app;
}
