import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { Sku } from '@sidecart/contracts/common';
import {
  NewPrice,
  NewProduct,
  PriceHistory,
  PriceSet,
  Product,
  QuoteRequest,
  Quotes,
} from '@sidecart/contracts/products';
import { jsonAnswer, jsonBodyOf, noQuery, problemAnswers } from '@sidecart/kit/openapi';
import { decodeCursor, listResponse, listSchema, pageQuery } from '@sidecart/kit/pagination';
import { changePrice, create, type ProductDeps, retireProduct } from './commands.ts';
import { problems } from './problems.ts';
import { findProducts, listPrices, listProducts, requireProduct } from './store.ts';
import { toPriceEntry, toProductView, toQuote } from './view.ts';

const params = z.strictObject({ sku: Sku });

/** Nothing to say about it; what a client says all the same would have no effect. */
const noFields = z.strictObject({});

const createProductRoute = createRoute({
  method: 'post',
  path: '/v1/products',
  operationId: 'createProduct',
  tags: ['products'],
  summary: 'Create a product with its first price',
  description: 'Creating it again just so answers 200 with the product as it is now.',
  request: { body: jsonBodyOf(NewProduct) },
  responses: {
    201: jsonAnswer('The product is for sale; Location is its path.', Product),
    200: jsonAnswer('It had been created just so before.', Product),
    ...problemAnswers(problems, 'product_exists', 'validation_failed'),
  },
});

const listProductsRoute = createRoute({
  method: 'get',
  path: '/v1/products',
  operationId: 'listProducts',
  tags: ['products'],
  summary: 'List products by SKU',
  request: { query: pageQuery },
  responses: {
    200: jsonAnswer('One page.', listSchema(Product)),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

const getProductRoute = createRoute({
  method: 'get',
  path: '/v1/products/{sku}',
  operationId: 'getProduct',
  tags: ['products'],
  summary: 'Read a product with its current price',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('The product.', Product),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const listPricesRoute = createRoute({
  method: 'get',
  path: '/v1/products/{sku}/prices',
  operationId: 'listPrices',
  tags: ['products'],
  summary: 'Read all prices ever recorded, by day',
  description:
    'The last one is the current price. For a day with several, the one of the greatest version holds.',
  request: { params, query: noQuery },
  responses: {
    200: jsonAnswer('The history.', PriceHistory),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const setPriceRoute = createRoute({
  method: 'put',
  path: '/v1/products/{sku}/price',
  operationId: 'setPrice',
  tags: ['products'],
  summary: 'Record the price from a day on',
  description: 'Without a day it is today (UTC). The price that a day already has, again, changes nothing.',
  request: { params, body: jsonBodyOf(NewPrice) },
  responses: {
    200: jsonAnswer('The product, and whether anything changed.', PriceSet),
    ...problemAnswers(problems, 'not_found', 'product_not_changeable', 'validation_failed'),
  },
});

const retireProductRoute = createRoute({
  method: 'post',
  path: '/v1/products/{sku}/retire',
  operationId: 'retireProduct',
  tags: ['products'],
  summary: 'Take a product off sale',
  description: 'Retiring it again changes nothing.',
  request: { params, body: { required: false, content: { 'application/json': { schema: noFields } } } },
  responses: {
    200: jsonAnswer('The product, retired.', Product),
    ...problemAnswers(problems, 'not_found', 'validation_failed'),
  },
});

const quoteRoute = createRoute({
  method: 'post',
  path: '/v1/quotes',
  operationId: 'quote',
  tags: ['products'],
  summary: 'Names and current prices of up to 500 products',
  description: 'For other services; the gateway does not offer it.',
  request: { body: jsonBodyOf(QuoteRequest) },
  responses: {
    200: jsonAnswer('What is known, in the order asked for, and what is unknown.', Quotes),
    ...problemAnswers(problems, 'validation_failed'),
  },
});

export const routes = [
  createProductRoute,
  listProductsRoute,
  getProductRoute,
  listPricesRoute,
  setPriceRoute,
  retireProductRoute,
  quoteRoute,
] as const;

export function mountRoutes(app: OpenAPIHono, deps: ProductDeps): void {
  const { db } = deps.database;

  app.openapi(createProductRoute, async (c) => {
    const { sku, name, unit_price, effective_on } = c.req.valid('json');
    const price = { unitPrice: unit_price, effectiveOn: effective_on };
    const { row, created } = await create(deps, { sku, name, price });
    c.header('Location', `/v1/products/${sku}`);
    return created ? c.json(toProductView(row), 201) : c.json(toProductView(row), 200);
  });

  app.openapi(listProductsRoute, async (c) => {
    const { limit, cursor } = c.req.valid('query');
    const after = decodeCursor(cursor, 1)?.[0];
    const page = listResponse(await listProducts(db, { after, take: limit + 1 }), limit, (row) => [row.sku]);
    return c.json({ ...page, items: page.items.map(toProductView) }, 200);
  });

  app.openapi(getProductRoute, async (c) =>
    c.json(toProductView(await requireProduct(db, c.req.valid('param').sku)), 200),
  );

  app.openapi(listPricesRoute, async (c) => {
    const { sku } = await requireProduct(db, c.req.valid('param').sku);
    return c.json({ items: (await listPrices(db, sku)).map(toPriceEntry) }, 200);
  });

  app.openapi(setPriceRoute, async (c) => {
    const { unit_price, effective_on } = c.req.valid('json');
    const stated = { unitPrice: unit_price, effectiveOn: effective_on };
    const { row, changed } = await changePrice(deps, c.req.valid('param').sku, stated);
    return c.json({ product: toProductView(row), changed }, 200);
  });

  app.openapi(retireProductRoute, async (c) =>
    c.json(toProductView(await retireProduct(deps, c.req.valid('param').sku)), 200),
  );

  app.openapi(quoteRoute, async (c) => {
    const skus = [...new Set(c.req.valid('json').skus)];
    const known = new Map((await findProducts(db, skus)).map((row) => [row.sku, row]));
    const items = skus.flatMap((sku) => known.get(sku) ?? []).map(toQuote);
    return c.json({ items, unknown: skus.filter((sku) => !known.has(sku)) }, 200);
  });
}
