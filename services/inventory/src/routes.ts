import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { Sku } from '@sidecart/contracts/common';
import { Movement, NewReceipt, Receipt, Stock } from '@sidecart/contracts/inventory';
import { readIdempotencyKey } from '@sidecart/kit/idempotency';
import {
  idempotencyKeyParameter,
  jsonAnswer,
  jsonBodyOf,
  noQuery,
  problemAnswers,
} from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import { ProblemError } from '@sidecart/kit/problem';
import { type InventoryDeps, receive } from './commands.ts';
import { problems } from './problems.ts';
import { listMovements, listStock, requireStock } from './store.ts';
import { toMovement, toStock } from './view.ts';

const params = z.strictObject({ sku: Sku });

const receiveStockRoute = createRoute({
  method: 'post',
  path: '/v1/stock/receipts',
  operationId: 'receiveStock',
  tags: ['stock'],
  summary: 'Take goods in',
  parameters: [idempotencyKeyParameter],
  request: { body: jsonBodyOf(NewReceipt) },
  responses: {
    201: jsonAnswer('The goods are on hand.', Receipt),
    200: jsonAnswer('This key has taken them in before; Idempotency-Replayed is true.', Receipt),
    ...problemAnswers(
      problems,
      'idempotency_key_missing',
      'idempotency_key_invalid',
      'validation_failed',
      'duplicate_line',
      'unknown_product',
      'idempotency_key_reused',
    ),
  },
});

const listStockRoute = createRoute({
  method: 'get',
  path: '/v1/stock',
  operationId: 'listStock',
  tags: ['stock'],
  summary: 'List stock by SKU',
  request: { query: pageQuery },
  responses: {
    200: jsonAnswer('One page.', listSchema(Stock)),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

const getStockRoute = createRoute({
  method: 'get',
  path: '/v1/stock/{sku}',
  operationId: 'getStock',
  tags: ['stock'],
  summary: 'Read the stock of a product',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('Its counts.', Stock),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const listMovementsRoute = createRoute({
  method: 'get',
  path: '/v1/stock/{sku}/movements',
  operationId: 'listMovements',
  tags: ['stock'],
  summary: 'Read every movement of a product, oldest first',
  request: { params, query: pageQuery },
  responses: {
    200: jsonAnswer('One page.', listSchema(Movement)),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

export const routes = [receiveStockRoute, listStockRoute, getStockRoute, listMovementsRoute] as const;

export function mountRoutes(app: OpenAPIHono, deps: InventoryDeps): void {
  const { db } = deps.database;

  app.openapi(receiveStockRoute, async (c) => {
    const key = readIdempotencyKey(c.req.header('idempotency-key'));
    const { receipt, replayed } = await receive(deps, { key, body: c.req.valid('json') });
    if (!replayed) return c.json(receipt, 201);
    c.header('Idempotency-Replayed', 'true');
    return c.json(receipt, 200);
  });

  app.openapi(listStockRoute, async (c) => {
    const { limit, cursor } = c.req.valid('query');
    const after = decodeCursor(cursor, 1)?.[0];
    const page = listResponse(await listStock(db, { after, take: limit + 1 }), limit, (row) => [row.sku]);
    return c.json({ ...page, items: page.items.map(toStock) }, 200);
  });

  app.openapi(getStockRoute, async (c) =>
    c.json(toStock(await requireStock(db, c.req.valid('param').sku)), 200),
  );

  app.openapi(listMovementsRoute, async (c) => {
    const { limit, cursor } = c.req.valid('query');
    const after = positionOf(decodeCursor(cursor, 1)?.[0]);
    const { sku } = await requireStock(db, c.req.valid('param').sku);
    const rows = await listMovements(db, { sku, after, take: limit + 1 });
    const page = listResponse(rows, limit, (row) => [row.position.toString()]);
    return c.json({ ...page, items: page.items.map(toMovement) }, 200);
  });
}

/** A cursor of another list decodes well, but its key is no position. */
function positionOf(key: string | undefined): bigint | undefined {
  if (key === undefined) return undefined;
  if (/^\d{1,18}$/.test(key)) return BigInt(key);
  throw new ProblemError('validation_failed', {
    errors: [
      {
        pointer: 'query:cursor',
        code: 'invalid_cursor',
        detail: 'Use next_cursor of the page before, unchanged.',
      },
    ],
  });
}
