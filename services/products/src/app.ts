import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import { mountMessages } from '@sidecart/messaging/mount';
import type { ProductDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of products. It takes no messages; what it has sent it tells who asks. */
export function createProductsApp(base: Omit<AppOptions, 'service'>, deps: ProductDeps): OpenAPIHono {
  const app = createApp({ ...base, service: 'products' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'products' });
  return app;
}
