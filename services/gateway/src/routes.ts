import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { OrderId } from '@sidecart/contracts/common';
import { OrderView } from '@sidecart/contracts/orders';
import { PUBLIC_ROUTES } from '@sidecart/contracts/topology.generated';
import type { Dapr } from '@sidecart/kit/dapr';
import { jsonAnswer, noQuery, problemAnswers } from '@sidecart/kit/openapi';
import { ProblemError } from '@sidecart/kit/problem';
import { forward, passBack } from './forward.ts';
import openApi from './openapi.generated.json' with { type: 'json' };
import { joinNames } from './order-view.ts';
import problemDocuments from './problems.generated.json' with { type: 'json' };
import { problems } from './problems.ts';
import type { GetProductNames } from './product-names.ts';

export interface GatewayDeps {
  dapr: Pick<Dapr, 'invoke'>;
  getProductNames: GetProductNames;
}

const ORDER_PATH = '/v1/orders/{id}';

/** Where the gateway's answer is not simply that of the service behind the route. */
const getOrderRoute = createRoute({
  method: 'get',
  path: ORDER_PATH,
  operationId: 'getOrder',
  tags: ['orders'],
  summary: 'Read an order with the names of its products',
  description: 'Also answers when products is down; `missing` then says that the names are.',
  request: { params: z.strictObject({ id: OrderId }), query: noQuery },
  responses: {
    200: jsonAnswer('The order.', OrderView),
    ...problemAnswers(
      problems,
      'not_found',
      'validation_failed',
      'upstream_refused',
      'upstream_invalid',
      'upstream_unavailable',
    ),
  },
});

export const routes = [getOrderRoute] as const;

export function mountRoutes(app: OpenAPIHono, { dapr, getProductNames }: GatewayDeps): void {
  for (const route of PUBLIC_ROUTES) {
    const isOrder = route.method === 'GET' && route.path === ORDER_PATH;
    app.on(route.method, route.path.replaceAll(/\{(\w+)\}/g, ':$1'), async (c) => {
      const answer = await forward(dapr, route, c);
      if (!isOrder || answer.status !== 200) return passBack(c, answer);
      return passBack(c, answer, JSON.stringify(await joinNames(answer, getProductNames)));
    });
  }

  app.get('/', (c) =>
    c.json({
      name: 'Sidecart',
      links: {
        products: '/v1/products',
        stock: '/v1/stock',
        orders: '/v1/orders',
        docs: '/docs',
        openapi: '/openapi.json',
      },
    }),
  );
  app.get('/openapi.json', (c) => c.json(openApi));

  const known = new Map(Object.entries(problemDocuments));
  app.get('/problems/:code', (c) => {
    const code = c.req.param('code');
    const problem = known.get(code);
    if (!problem) throw new ProblemError('not_found');
    return c.json({ type: `/problems/${code}`, code, ...problem });
  });
}
