import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import { mountDocs } from './docs.ts';
import { type GatewayDeps, mountRoutes } from './routes.ts';

/** The only way in from outside: everybody may ask, except for the metrics. */
export function createGatewayApp(base: Omit<AppOptions, 'service' | 'open'>, deps: GatewayDeps): OpenAPIHono {
  const app = createApp({ ...base, service: 'gateway', open: (path) => path !== '/metrics' });
  mountRoutes(app, deps);
  mountDocs(app);
  return app;
}
