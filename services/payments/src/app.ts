import type { OpenAPIHono } from '@hono/zod-openapi';
import { type AppOptions, createApp } from '@sidecart/kit/app';
import type { Consumer } from '@sidecart/messaging/consumer';
import { mountMessages } from '@sidecart/messaging/mount';
import type { PaymentDeps } from './commands.ts';
import { mountRoutes } from './routes.ts';

/** The HTTP side of payments: what clients and the provider ask for, and what the sidecar delivers. */
export function createPaymentsApp(
  base: Omit<AppOptions, 'service'>,
  deps: PaymentDeps & { consumer: Consumer; webhookSecret: string },
): OpenAPIHono {
  const app = createApp({ ...base, service: 'payments' });
  mountRoutes(app, deps);
  mountMessages(app, { ...deps, service: 'payments' });
  return app;
}
