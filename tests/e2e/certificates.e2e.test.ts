import { afterAll, beforeAll, expect, test } from 'vitest';
import { orderWhileCertificatesChange } from './certificates.ts';
import { type LocalShop, orderEnds, placeUntilAccepted, productWithStock, testShop, until } from './shop.ts';

let shop: LocalShop;

beforeAll(async () => {
  // As short as it can be: half of it, after which they are replaced, outlasts the ten seconds after which a sidecar asks once more.
  shop = await testShop({ certificateTtl: '30s' });
});
afterAll(async () => {
  await shop?.stop();
});

test('certificates are replaced before they end while orders flow, and a sidecar that is killed meets the others by the next ones', async () => {
  const seen = await orderWhileCertificatesChange(
    shop,
    (all) => [...all.values()].every(([first]) => first && first.validTo < Date.now()),
    // Again with the same key where need be: beside other tests a machine may stand still for seconds. The long form has it to itself.
    (url, lines) => placeUntilAccepted(url, lines, 15_000),
  );
  for (const [service, certificates] of seen)
    expect(certificates.length, `certificates of ${service}`).toBeGreaterThan(1);

  // Connections outlive the certificates that they began with: only new ones show that the next are good.
  const sku = await productWithStock(shop.gatewayUrl, 1);
  const sidecar = shop.find('orders-dapr');
  const { restarts } = sidecar;
  sidecar.kill('SIGKILL');
  await until('the sidecar to be back', () => {
    const now = shop.find('orders-dapr');
    return now.restarts > restarts && now.state === 'ready';
  });
  const id = await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]);
  expect(await orderEnds(shop.gatewayUrl, id)).toBe('confirmed');
});
