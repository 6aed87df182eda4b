import { connect, type PeerCertificate } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { type CallThrough, call, callThrough, DATABASES, type Target } from './shop.ts';

let shop: Target;

beforeAll(async () => {
  shop = await openShop();
});
afterAll(async () => {
  await shop?.stop();
});

const through = (from: string, path: string, o?: CallThrough) => callThrough(shop, from, path, o);

describe('who may call whom', () => {
  const quote = { method: 'POST', body: { skus: ['X'] } };

  test('orders may ask products for a quote', async () => {
    expect((await through('orders', '/v1/quotes', { ...quote, appId: 'products' })).status).toBe(200);
  });

  test.each([
    ['inventory', 'products', 'POST', '/v1/quotes'],
    ['inventory', 'orders', 'GET', '/v1/orders'],
    ['orders', 'products', 'GET', '/v1/products'],
    ['orders', 'products', 'POST', '/v1/products/X/retire'],
    ['orders', 'inventory', 'POST', '/v1/stock/receipts'],
    ['products', 'orders', 'POST', '/v1/orders'],
    ['orders', 'payments', 'GET', '/v1/payments'],
    ['inventory', 'payments', 'POST', '/v1/payments/webhooks'],
    ['orders', 'shipping', 'POST', '/v1/shipments/X/hand-over'],
    ['inventory', 'shipping', 'GET', '/v1/shipments'],
    ['shipping', 'orders', 'POST', '/v1/orders'],
    ['gateway', 'orders', 'POST', '/messages/inventory'],
    ['gateway', 'orders', 'GET', '/metrics'],
    ['gateway', 'orders', 'DELETE', '/v1/orders'],
    ['gateway', 'orders', 'POST', '/v1/orders/x/cancel/more/still'],
  ])('%s may not call %s with %s %s', async (from, to, method, path) => {
    const answer = await through(from, path, {
      method,
      appId: to,
      ...(method === 'GET' ? {} : { body: {} }),
    });
    expect(answer.status).toBe(403);
  });
});

describe('an API outside', () => {
  const ask = (from: string) =>
    through(from, '/v1/authorisations', { method: 'POST', appId: 'provider', body: {} });

  test('is known to the sidecar of the one who calls it, and does not know who lacks its key', async () => {
    expect((await ask('payments')).body).toEqual({ error: 'unauthorised' });
  });

  test.each(['orders', 'gateway', 'inventory'])('is unknown to that of %s', async (from) => {
    expect((await ask(from)).body).toMatchObject({ errorCode: 'ERR_DIRECT_INVOKE' });
  });

  test('calls back at one operation, and nobody else may: what it has not signed is refused', async () => {
    const path = '/v1/payments/webhooks';
    const answer = await call(shop.gatewayUrl, 'POST', path, { body: { type: 'authorise.succeeded' } });
    expect(answer.body).toMatchObject({ status: 401, code: 'webhook_signature_invalid' });
  });
});

describe('tokens', () => {
  test('a sidecar answers nobody without its API token', async () => {
    const { daprHttpPort } = shop.endpoints('orders');
    expect(
      (await call(`http://127.0.0.1:${daprHttpPort}`, 'GET', '/v1.0/secrets/kubernetes/orders-db')).status,
    ).toBe(401);
  });

  test.each(DATABASES)('%s refuses whatever lacks the app token, health aside', async (service) => {
    const base = `http://127.0.0.1:${shop.endpoints(service).appPort}`;
    for (const path of ['/v1/orders', '/v1/products', '/v1/stock', '/metrics', '/nothing'])
      expect((await call(base, 'GET', path)).body).toMatchObject({
        status: 401,
        code: 'app_token_required',
      });
    expect((await call(base, 'POST', '/messages/orders', { body: {} })).status).toBe(401);
    expect((await call(base, 'GET', '/v1/orders', { headers: { 'dapr-api-token': 'guess' } })).status).toBe(
      401,
    );
    for (const path of ['/livez', '/readyz', '/healthz'])
      expect((await call(base, 'GET', path)).status).toBe(200);
  });

  test('the gateway opens its public routes only', async () => {
    expect((await call(shop.gatewayUrl, 'GET', '/metrics')).status).toBe(401);
    expect((await call(shop.gatewayUrl, 'GET', '/v1/orders')).status).toBe(200);
  });
});

describe('topics and secrets', () => {
  const event = { specversion: '1.0', id: 'x', source: 'test', type: 'StockReserved', data: {} };
  const publish = (from: string, component: string, topic: string) =>
    through(from, `/v1.0/publish/${component}/${topic}`, {
      method: 'POST',
      body: event,
      headers: { 'content-type': 'application/cloudevents+json' },
    });

  test.each([
    ['orders', 'inventory'],
    ['inventory', 'orders'],
    ['inventory', 'products'],
    ['inventory', 'commands.inventory'],
    ['orders', 'payments'],
    ['payments', 'commands.payments'],
    ['orders', 'shipping'],
    ['shipping', 'commands.shipping'],
  ])('%s may not publish to %s', async (from, topic) => {
    for (const component of shop.components(topic))
      expect((await publish(from, component, topic)).status).toBe(403);
  });

  test('a component is not even loaded where it has no business', async () => {
    for (const component of shop.components('commands.inventory'))
      expect((await publish('products', component, 'commands.inventory')).status).toBe(404);
  });

  test.each([
    ['orders', 'products-db'],
    ['orders', 'payments-provider'],
    ['orders', 'shipping-db'],
    ['orders', 'orders-db-owner'],
    ['orders', 'broker'],
    ['gateway', 'orders-db'],
  ])('%s may not read the secret %s', async (from, secret) => {
    const answer = await through(from, `/v1.0/secrets/kubernetes/${secret}`);
    // On Kubernetes the sidecar of a service without secrets has no store at all, and says so with 500.
    const noStore = { status: 500, errorCode: 'ERR_SECRET_STORES_NOT_CONFIGURED' };
    const refusals = [
      { status: 403, errorCode: 'ERR_PERMISSION_DENIED' },
      ...(from === 'gateway' ? [noStore] : []),
    ];
    expect(refusals).toContainEqual({ status: answer.status, errorCode: answer.body.errorCode });
  });

  test('a service reads its own secret', async () => {
    expect((await through('orders', '/v1.0/secrets/kubernetes/orders-db')).body).toMatchObject({
      url: expect.stringContaining('orders_app'),
    });
  });
});

describe('mTLS between sidecars', () => {
  const handshake = (port: number) =>
    new Promise<{ certificate: PeerCertificate; refused: boolean }>((done, fail) => {
      let certificate: PeerCertificate | undefined;
      const socket = connect(
        { host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] },
        () => {
          certificate = socket.getPeerCertificate();
          socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
        },
      );
      const finish = (refused: boolean) => {
        socket.destroy();
        if (certificate) done({ certificate, refused });
        else fail(new Error('no certificate was shown'));
      };
      socket.on('data', () => finish(false));
      socket.on('error', () => finish(true));
      socket.on('close', () => finish(true));
    });

  test.each(['orders', 'products'])(
    'the sidecar of %s shows its own identity on the wire and refuses a caller without one',
    async (service) => {
      const { certificate, refused } = await handshake(shop.endpoints(service).daprInternalPort);
      expect(certificate.subjectaltname).toContain(`URI:spiffe://public/ns/shop/${service}`);
      expect(refused).toBe(true);
    },
  );
});
