import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { ProductDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of products. It takes no messages, so there is nothing else to mount. */
export function createProductsApp(base: Omit<AppOptions, 'service'>, deps: ProductDeps): OpenAPIHono {
  const app = createApp({ ...base, service: 'products' });
  mountRoutes(app, deps);
  return app;
}
