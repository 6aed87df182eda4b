import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { OrderId, ShipmentId } from '@sidecart/contracts/common';
import { HandOver, Loss, NewPackage, Shipment, ShipmentStatus } from '@sidecart/contracts/shipping';
import { readIdempotencyKey } from '@sidecart/kit/idempotency';
import {
  idempotencyKeyParameter,
  jsonAnswer,
  jsonBodyOf,
  noQuery,
  problemAnswers,
} from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import { act, pack, type ShippingDeps } from './commands.ts';
import { problems } from './problems.ts';
import { listShipments, requireShipment } from './store.ts';
import { toShipment, toSummary } from './view.ts';

const params = z.strictObject({ id: ShipmentId });

const ShipmentSummary = Shipment.omit({ lines: true, packages: true }).meta({
  id: 'ShipmentSummary',
  description: 'A shipment without its lines and packages, as in lists.',
});

const listShipmentsRoute = createRoute({
  method: 'get',
  path: '/v1/shipments',
  operationId: 'listShipments',
  tags: ['shipments'],
  summary: 'List shipments, newest first',
  description:
    'An order has one from a moment after its confirmation on. One that was cancelled ahead of that is not listed.',
  request: {
    query: pageQuery.extend({ order_id: OrderId.optional(), status: ShipmentStatus.optional() }),
  },
  responses: {
    200: jsonAnswer('One page.', listSchema(ShipmentSummary)),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

const getShipmentRoute = createRoute({
  method: 'get',
  path: '/v1/shipments/{id}',
  operationId: 'getShipment',
  tags: ['shipments'],
  summary: 'Read a shipment',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('The shipment.', Shipment),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const packRoute = createRoute({
  method: 'post',
  path: '/v1/shipments/{id}/packages',
  operationId: 'pack',
  tags: ['shipments'],
  summary: 'Put pieces into a new package',
  description: 'Without lines, all that is in no package yet.',
  parameters: [idempotencyKeyParameter],
  request: { params, body: jsonBodyOf(NewPackage) },
  responses: {
    201: jsonAnswer('The shipment, with the new package as its last.', Shipment),
    200: jsonAnswer('This key has packed it before; Idempotency-Replayed is true.', Shipment),
    ...problemAnswers(
      problems,
      'idempotency_key_missing',
      'idempotency_key_invalid',
      'not_found',
      'more_than_left_to_pack',
      'nothing_left_to_pack',
      'too_many_packages',
      'shipment_has_left',
      'shipment_cancelled',
      'validation_failed',
      'duplicate_line',
      'idempotency_key_reused',
    ),
  },
});

const handOverRoute = createRoute({
  method: 'post',
  path: '/v1/shipments/{id}/hand-over',
  operationId: 'handOver',
  tags: ['shipments'],
  summary: 'Give the packages to a carrier',
  description:
    'There is no way back: from now on the order is paid for. Every piece has to be in a package. Again, it changes nothing.',
  request: { params, body: jsonBodyOf(HandOver) },
  responses: {
    200: jsonAnswer('The shipment, handed over, now or before.', Shipment),
    ...problemAnswers(problems, 'not_found', 'not_all_packed', 'shipment_cancelled', 'validation_failed'),
  },
});

const deliverRoute = createRoute({
  method: 'post',
  path: '/v1/shipments/{id}/deliver',
  operationId: 'deliver',
  tags: ['shipments'],
  summary: 'Say that the customer has the packages',
  description: 'Of delivered and lost the first counts: what comes later changes nothing.',
  request: { params },
  responses: {
    200: jsonAnswer('The shipment as it is now.', Shipment),
    ...problemAnswers(
      problems,
      'not_found',
      'shipment_not_handed_over',
      'shipment_cancelled',
      'validation_failed',
    ),
  },
});

const loseRoute = createRoute({
  method: 'post',
  path: '/v1/shipments/{id}/lose',
  operationId: 'lose',
  tags: ['shipments'],
  summary: 'Say that the packages will not arrive',
  description: 'Of delivered and lost the first counts: what comes later changes nothing.',
  request: { params, body: jsonBodyOf(Loss) },
  responses: {
    200: jsonAnswer('The shipment as it is now.', Shipment),
    ...problemAnswers(
      problems,
      'not_found',
      'shipment_not_handed_over',
      'shipment_cancelled',
      'validation_failed',
    ),
  },
});

export const routes = [
  listShipmentsRoute,
  getShipmentRoute,
  packRoute,
  handOverRoute,
  deliverRoute,
  loseRoute,
] as const;

export function mountRoutes(app: OpenAPIHono, deps: ShippingDeps): void {
  const { db } = deps.database;
  const at = () => deps.clock().toISOString();

  app.openapi(listShipmentsRoute, async (c) => {
    const { order_id: orderId, status, limit, cursor } = c.req.valid('query');
    const before = decodeCursor(cursor, 1)?.[0];
    const rows = await listShipments(db, { orderId, status, before, take: limit + 1 });
    const page = listResponse(rows, limit, (row) => [row.id]);
    return c.json({ ...page, items: page.items.map(toSummary) }, 200);
  });

  app.openapi(getShipmentRoute, async (c) =>
    c.json(toShipment(await requireShipment(db, c.req.valid('param').id)), 200),
  );

  app.openapi(packRoute, async (c) => {
    const key = readIdempotencyKey(c.req.header('idempotency-key'));
    const { id: shipmentId } = c.req.valid('param');
    const { shipment, replayed } = await pack(deps, { shipmentId, key, body: c.req.valid('json') });
    if (!replayed) return c.json(shipment, 201);
    c.header('Idempotency-Replayed', 'true');
    return c.json(shipment, 200);
  });

  app.openapi(handOverRoute, async (c) => {
    const { carrier, tracking } = c.req.valid('json');
    const command = { type: 'HandOver' as const, carrier, tracking, at: at() };
    return c.json(await act(deps, c.req.valid('param').id, command), 200);
  });

  app.openapi(deliverRoute, async (c) =>
    c.json(await act(deps, c.req.valid('param').id, { type: 'Deliver', at: at() }), 200),
  );

  app.openapi(loseRoute, async (c) => {
    const { reason } = c.req.valid('json');
    return c.json(await act(deps, c.req.valid('param').id, { type: 'Lose', reason, at: at() }), 200);
  });
}
