import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { OrderId, PaymentId } from '@sidecart/contracts/common';
import { Payment } from '@sidecart/contracts/payments';
import { jsonAnswer, jsonBodyOf, noQuery, problemAnswers } from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import type { PaymentDeps } from './commands.ts';
import { problems } from './problems.ts';
import { listPayments, requirePayment } from './store.ts';
import { toPayment } from './view.ts';
import { ProviderEvent, takeEvent, verifyWebhook } from './webhooks.ts';

const listPaymentsRoute = createRoute({
  method: 'get',
  path: '/v1/payments',
  operationId: 'listPayments',
  tags: ['payments'],
  summary: 'List payments, newest first; with order_id the one of that order',
  request: { query: pageQuery.extend({ order_id: OrderId.optional() }) },
  responses: {
    200: jsonAnswer('One page.', listSchema(Payment)),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

const getPaymentRoute = createRoute({
  method: 'get',
  path: '/v1/payments/{id}',
  operationId: 'getPayment',
  tags: ['payments'],
  summary: 'Read a payment, with all that was asked of the provider',
  request: { params: z.strictObject({ id: PaymentId }), query: noQuery },
  responses: {
    200: jsonAnswer('The payment.', Payment),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const webhookHeader = (name: string, description: string) => ({
  name,
  in: 'header' as const,
  required: true,
  description,
  schema: { type: 'string' as const },
});

const webhookRoute = createRoute({
  method: 'post',
  path: '/v1/payments/webhooks',
  operationId: 'takePaymentWebhook',
  tags: ['payments'],
  summary: 'For the payment provider: tell of an operation',
  description:
    'Signed after the Standard Webhooks spec. The same event may come twice, late, or after the answer to the request.',
  parameters: [
    webhookHeader('webhook-id', 'The same at every attempt.'),
    webhookHeader('webhook-timestamp', 'Of this attempt, in seconds since 1970; at most five minutes ago.'),
    webhookHeader('webhook-signature', 'Of id, timestamp and body.'),
  ],
  request: { body: jsonBodyOf(ProviderEvent) },
  responses: {
    204: { description: 'Taken; it may have been known before.' },
    ...problemAnswers(
      problems,
      'webhook_signature_invalid',
      'webhook_contradicts',
      'malformed_json',
      'validation_failed',
    ),
  },
});

export const routes = [listPaymentsRoute, getPaymentRoute, webhookRoute] as const;

export function mountRoutes(app: OpenAPIHono, deps: PaymentDeps & { webhookSecret: string }): void {
  const { db } = deps.database;

  app.openapi(listPaymentsRoute, async (c) => {
    const { order_id, limit, cursor } = c.req.valid('query');
    const before = decodeCursor(cursor, 1)?.[0];
    const rows = await listPayments(db, { orderId: order_id, before, take: limit + 1 });
    const page = listResponse(rows, limit, ({ payment }) => [payment.id]);
    return c.json({ ...page, items: page.items.map(toPayment) }, 200);
  });

  app.openapi(getPaymentRoute, async (c) =>
    c.json(toPayment(await requirePayment(db, c.req.valid('param').id)), 200),
  );

  // Before the validators: whoever is not the provider learns nothing of what an event looks like.
  app.on(
    'POST',
    webhookRoute.path,
    verifyWebhook(() => deps.webhookSecret),
  );
  app.openapi(webhookRoute, async (c) => {
    await takeEvent(deps, c.req.valid('json'));
    return c.body(null, 204);
  });
}
