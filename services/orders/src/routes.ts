import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { OrderId } from '@sidecart/contracts/common';
import { CancelOrder, NewOrder, Order, OrderStatus } from '@sidecart/contracts/orders';
import { readIdempotencyKey } from '@sidecart/kit/idempotency';
import {
  idempotencyKeyParameter,
  jsonAnswer,
  jsonBodyOf,
  noQuery,
  problemAnswers,
} from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import { cancelOrder, getOrder, type OrderDeps, placeOrder } from './commands.ts';
import { problems } from './problems.ts';
import { listOrders } from './store.ts';
import { toSummary } from './view.ts';

const params = z.strictObject({ id: OrderId });

const OrderSummary = Order.omit({ lines: true, rejection: true, cancellation: true }).meta({
  id: 'OrderSummary',
  description: 'An order without its lines, as in lists.',
});

const placeOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders',
  operationId: 'placeOrder',
  tags: ['orders'],
  summary: 'Place an order',
  description:
    'Answered once the order is stored; follow it to `confirmed` or `rejected`. The prices are what the customer saw: a changed one is refused.',
  parameters: [idempotencyKeyParameter],
  request: { body: jsonBodyOf(NewOrder) },
  responses: {
    201: jsonAnswer('The order is placed; Location is its path.', Order),
    200: jsonAnswer('This key has placed it before; Idempotency-Replayed is true.', Order),
    ...problemAnswers(
      problems,
      'idempotency_key_missing',
      'idempotency_key_invalid',
      'price_changed',
      'validation_failed',
      'duplicate_line',
      'unknown_product',
      'product_retired',
      'idempotency_key_reused',
      'products_unavailable',
    ),
  },
});

const listOrdersRoute = createRoute({
  method: 'get',
  path: '/v1/orders',
  operationId: 'listOrders',
  tags: ['orders'],
  summary: 'List orders, newest first',
  request: { query: pageQuery.extend({ status: OrderStatus.optional() }) },
  responses: {
    200: jsonAnswer('One page.', listSchema(OrderSummary)),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

const getOrderRoute = createRoute({
  method: 'get',
  path: '/v1/orders/{id}',
  operationId: 'getOrder',
  tags: ['orders'],
  summary: 'Read an order',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('The order.', Order),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const cancelOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders/{id}/cancel',
  operationId: 'cancelOrder',
  tags: ['orders'],
  summary: 'Cancel an order and release its stock',
  description: 'Cancelling a cancelled order again changes nothing.',
  request: { params, body: { required: false, content: { 'application/json': { schema: CancelOrder } } } },
  responses: {
    200: jsonAnswer('The order, cancelled.', Order),
    ...problemAnswers(problems, 'not_found', 'order_not_cancellable', 'validation_failed'),
  },
});

export const routes = [placeOrderRoute, listOrdersRoute, getOrderRoute, cancelOrderRoute] as const;

export function mountRoutes(app: OpenAPIHono, deps: OrderDeps): void {
  const { db } = deps.database;

  app.openapi(placeOrderRoute, async (c) => {
    const key = readIdempotencyKey(c.req.header('idempotency-key'));
    const { order, replayed } = await placeOrder(deps, { key, body: c.req.valid('json') });
    c.header('Location', `/v1/orders/${order.id}`);
    if (!replayed) return c.json(order, 201);
    c.header('Idempotency-Replayed', 'true');
    return c.json(order, 200);
  });

  app.openapi(listOrdersRoute, async (c) => {
    const { status, limit, cursor } = c.req.valid('query');
    const before = decodeCursor(cursor, 1)?.[0];
    const rows = await listOrders(db, { status, before, take: limit + 1 });
    const page = listResponse(rows, limit, (row) => [row.id]);
    return c.json({ ...page, items: page.items.map(toSummary) }, 200);
  });

  app.openapi(getOrderRoute, async (c) => c.json(await getOrder(db, c.req.valid('param').id), 200));

  app.openapi(cancelOrderRoute, async (c) => {
    const { reason } = c.req.valid('json');
    return c.json(await cancelOrder(deps, c.req.valid('param').id, reason), 200);
  });
}
