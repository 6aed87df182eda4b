import tls from 'node:tls';
import { expect } from 'vitest';
import {
  deadLetters,
  type LocalShop,
  orderEnds,
  placeOrder,
  productWithStock,
  SERVICES,
  sleep,
  stockOf,
  until,
} from './shop.ts';

// What the short and the long test of the sidecars' certificates share.

export interface SidecarCertificate {
  fingerprint: string;
  validTo: number;
}

/** The certificate with which a service's sidecar meets the others. */
export function certificateOf(shop: LocalShop, service: string): Promise<SidecarCertificate> {
  const port = shop.endpoints(service).daprInternalPort;
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    socket.once('secureConnect', () => {
      const { fingerprint256, valid_to } = socket.getPeerCertificate();
      socket.destroy();
      resolve({ fingerprint: fingerprint256, validTo: Date.parse(valid_to) });
    });
    socket.on('error', reject);
  });
}

/** By service, the certificates that were seen, in their order. */
export type Seen = ReadonlyMap<string, readonly SidecarCertificate[]>;

/**
 * Places an order each second until it has seen enough: every one of them is taken, at the first try unless `placed` has another way, and
 * reaches its end; stock moves once for each, and there is no dead letter.
 */
export async function orderWhileCertificatesChange(
  shop: LocalShop,
  isEnough: (seen: Seen) => boolean,
  placed: typeof placedAtOnce = placedAtOnce,
): Promise<Seen> {
  const url = shop.gatewayUrl;
  const sku = await productWithStock(url, 1000);
  const seen = new Map<string, SidecarCertificate[]>(SERVICES.map((service) => [service, []]));
  const ids: string[] = [];
  while (!isEnough(seen)) {
    ids.push(await placed(url, [{ sku, quantity: 1 }]));
    for (const [service, certificates] of seen) {
      const now = await certificateOf(shop, service);
      if (now.fingerprint !== certificates.at(-1)?.fingerprint) certificates.push(now);
    }
    await sleep(1_000);
  }
  for (const id of ids) expect(await orderEnds(url, id)).toBe('confirmed');
  await until('stock to move once', async () => (await stockOf(url, sku)).committed === ids.length, 60_000);
  expect(await deadLetters(shop)).toEqual([]);
  return seen;
}

async function placedAtOnce(url: string, lines: { sku: string; quantity: number }[]): Promise<string> {
  const answer = await placeOrder(url, lines);
  expect([answer.status, answer.text]).toEqual([201, answer.text]);
  return answer.body.id;
}
