import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { CustomerId, OrderId } from '@sidecart/contracts/common';
import { gbp } from '@sidecart/contracts/money';
import {
  Amendment,
  CancelOrder,
  Dashboard,
  HistoryEntry,
  NewOrder,
  NewRefund,
  Order,
  OrderStatus,
  Settlement,
} from '@sidecart/contracts/orders';
import { readIdempotencyKey } from '@sidecart/kit/idempotency';
import { Moment } from '@sidecart/kit/moment';
import {
  idempotencyKeyParameter,
  jsonAnswer,
  jsonBodyOf,
  noQuery,
  problemAnswers,
} from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import {
  amendOrder,
  cancelOrder,
  getOrder,
  type OrderDeps,
  placeOrder,
  refundOrder,
  settleOrder,
} from './commands.ts';
import { getHistory, getOrderAt, type HistoryDeps } from './history.ts';
import { problems } from './problems.ts';
import { listOrders, readDashboard } from './read-models/orders.ts';
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
    'Answered once the order is stored; its `progress` says what it waits for. The prices are what the customer saw: a changed one is refused.',
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
  description: 'A read model: an order of a moment ago may not be in it yet, or not as it is by now.',
  request: {
    query: pageQuery.extend({
      status: OrderStatus.optional(),
      customer_id: CustomerId.optional(),
      attention: z
        .enum(['true', 'false'])
        .optional()
        .meta({ description: '`true`: only orders that need a person.' }),
    }),
  },
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
  request: {
    params,
    query: z.strictObject({
      at: Moment.optional().meta({ description: 'As it was at that moment; without it, as it is now.' }),
    }),
  },
  responses: {
    200: jsonAnswer('The order.', Order),
    ...problemAnswers(problems, 'not_found', 'validation_failed', 'archive_unavailable', 'archive_damaged'),
  },
});

const orderHistoryRoute = createRoute({
  method: 'get',
  path: '/v1/orders/{id}/history',
  operationId: 'getOrderHistory',
  tags: ['orders'],
  summary: 'Read what happened to an order',
  description: 'Who did what, when and why, and which request and trace it belongs to.',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('All of it, oldest first.', z.object({ items: z.array(HistoryEntry) })),
    ...problemAnswers(problems, 'not_found', 'validation_failed', 'archive_unavailable', 'archive_damaged'),
  },
});

const cancelOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders/{id}/cancel',
  operationId: 'cancelOrder',
  tags: ['orders'],
  summary: 'Cancel an order that has not left',
  description:
    'Of a confirmed order shipping is asked first: it becomes `cancelled` when that has answered, or stays as it is when it has left meanwhile. Cancelling again changes nothing.',
  request: { params, body: { required: false, content: { 'application/json': { schema: CancelOrder } } } },
  responses: {
    200: jsonAnswer('The order, cancelled.', Order),
    202: jsonAnswer('The order; shipping is asked.', Order),
    ...problemAnswers(problems, 'not_found', 'order_not_cancellable', 'validation_failed'),
  },
});

const amendOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders/{id}/amendments',
  operationId: 'amendOrder',
  tags: ['orders'],
  summary: 'Take pieces or lines off an order that has not left',
  description: 'Of a confirmed order shipping is asked first. The same amendment again changes nothing.',
  request: { params, body: jsonBodyOf(Amendment) },
  responses: {
    200: jsonAnswer('The order, amended.', Order),
    202: jsonAnswer('The order; shipping is asked.', Order),
    ...problemAnswers(
      problems,
      'not_found',
      'order_not_amendable',
      'order_busy',
      'amend_only_less',
      'amend_leaves_nothing',
      'not_on_order',
      'duplicate_line',
      'validation_failed',
    ),
  },
});

const refundOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders/{id}/refunds',
  operationId: 'refundOrder',
  tags: ['orders'],
  summary: 'Give money back, for the whole order or for some pieces',
  parameters: [idempotencyKeyParameter],
  request: { params, body: jsonBodyOf(NewRefund) },
  responses: {
    202: jsonAnswer('The order; the refund is asked for.', Order),
    200: jsonAnswer('This key has asked for it before; Idempotency-Replayed is true.', Order),
    ...problemAnswers(
      problems,
      'idempotency_key_missing',
      'idempotency_key_invalid',
      'idempotency_key_reused',
      'not_found',
      'order_not_refundable',
      'refund_too_much',
      'nothing_to_refund',
      'not_on_order',
      'duplicate_line',
      'validation_failed',
    ),
  },
});

const settleOrderRoute = createRoute({
  method: 'post',
  path: '/v1/orders/{id}/settlement',
  operationId: 'settleOrder',
  tags: ['orders'],
  summary: 'Settle what the shop cannot',
  description:
    'About the problem that `progress` names. Name it too, by its code and refund, so that a request that comes twice does not settle the next one. Who settled it and why is kept in the history. What nobody has answered is first tried again.',
  request: { params, body: jsonBodyOf(Settlement) },
  responses: {
    200: jsonAnswer('The order.', Order),
    ...problemAnswers(
      problems,
      'not_found',
      'nothing_to_settle',
      'settlement_not_possible',
      'settlement_too_early',
      'order_not_cancellable',
      'validation_failed',
    ),
  },
});

const dashboardRoute = createRoute({
  method: 'get',
  path: '/v1/dashboard',
  operationId: 'getDashboard',
  tags: ['orders'],
  summary: "The seller's figures, all of one moment",
  request: { query: noQuery },
  responses: { 200: jsonAnswer('The figures.', Dashboard) },
});

export const routes = [
  placeOrderRoute,
  listOrdersRoute,
  getOrderRoute,
  orderHistoryRoute,
  cancelOrderRoute,
  amendOrderRoute,
  refundOrderRoute,
  settleOrderRoute,
  dashboardRoute,
] as const;

export function mountRoutes(app: OpenAPIHono, deps: OrderDeps & HistoryDeps): void {
  mountChanges(app, deps);
  mountReads(app, deps);
}

function mountChanges(app: OpenAPIHono, deps: OrderDeps): void {
  app.openapi(placeOrderRoute, async (c) => {
    const key = readIdempotencyKey(c.req.header('idempotency-key'));
    const { order, replayed } = await placeOrder(deps, { key, body: c.req.valid('json') });
    c.header('Location', `/v1/orders/${order.id}`);
    if (!replayed) return c.json(order, 201);
    c.header('Idempotency-Replayed', 'true');
    return c.json(order, 200);
  });

  app.openapi(cancelOrderRoute, async (c) => {
    const { reason } = c.req.valid('json');
    const order = await cancelOrder(deps, c.req.valid('param').id, reason);
    return c.json(order, order.status === 'cancelled' ? 200 : 202);
  });

  app.openapi(amendOrderRoute, async (c) => {
    const { order, pending } = await amendOrder(deps, c.req.valid('param').id, c.req.valid('json'));
    return c.json(order, pending ? 202 : 200);
  });

  app.openapi(refundOrderRoute, async (c) => {
    const key = readIdempotencyKey(c.req.header('idempotency-key'));
    const { id } = c.req.valid('param');
    const { order, replayed } = await refundOrder(deps, id, { key, body: c.req.valid('json') });
    if (!replayed) return c.json(order, 202);
    c.header('Idempotency-Replayed', 'true');
    return c.json(order, 200);
  });

  app.openapi(settleOrderRoute, async (c) =>
    c.json(await settleOrder(deps, c.req.valid('param').id, c.req.valid('json')), 200),
  );
}

function mountReads(app: OpenAPIHono, deps: OrderDeps & HistoryDeps): void {
  const { database } = deps;

  app.openapi(listOrdersRoute, async (c) => {
    const { status, customer_id: customerId, attention, limit, cursor } = c.req.valid('query');
    const before = decodeCursor(cursor, 1)?.[0];
    const rows = await listOrders(database.db, {
      status,
      customerId,
      attention: attention && attention === 'true',
      before,
      take: limit + 1,
    });
    const page = listResponse(rows, limit, (row) => [row.orderId]);
    return c.json({ ...page, items: page.items.map(toSummary) }, 200);
  });

  app.openapi(getOrderRoute, async (c) => {
    const { id } = c.req.valid('param');
    const { at } = c.req.valid('query');
    const order = at === undefined ? getOrder(deps, database.db, id) : getOrderAt(deps, id, new Date(at));
    return c.json(await order, 200);
  });

  app.openapi(orderHistoryRoute, async (c) =>
    c.json({ items: await getHistory(deps, c.req.valid('param').id) }, 200),
  );

  app.openapi(dashboardRoute, async (c) => {
    const figures = await database.db.transaction((tx) => readDashboard(tx));
    return c.json(
      {
        open_orders: figures.openOrders,
        attention: figures.attention,
        placed_orders: figures.placedOrders,
        units_shipped: figures.unitsShipped,
        takings: gbp(figures.takings),
        refunded: gbp(figures.refunded),
        pending_events: figures.pendingEvents,
      },
      200,
    );
  });
}
