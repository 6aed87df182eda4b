import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { Consumer } from '@sidecart/messaging/consumer';
import { mountMessages } from '@sidecart/messaging/mount';
import type { InventoryDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of inventory: what clients ask for, and what the sidecar delivers. */
export function createInventoryApp(
  base: Omit<AppOptions, 'service'>,
  deps: InventoryDeps & { consumer: Consumer },
): OpenAPIHono {
  const app = createApp({ ...base, service: 'inventory' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'inventory' });
  return app;
}
