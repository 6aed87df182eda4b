import { expect } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import {
  deadLetters,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
  query,
  SERVICES,
  SIMULATORS,
  sleep,
  stockOf,
  type Target,
  until,
} from './shop.ts';

/** Everything that can be killed while an order is on its way. */
export const VICTIMS = [
  ...SERVICES,
  ...SIMULATORS,
  ...SERVICES.map((name) => `${name}-dapr`),
  'broker',
  'postgres',
  'sentry',
];

/** Something that can be ended by force. */
export interface Victim {
  name: string;
  kill(): Promise<void>;
  /** Whether another runs in its place, and is ready. */
  isBack(): Promise<boolean>;
}

/** One process of a shop on this machine, to be killed with SIGKILL. */
export function processVictim(shop: Shop, name: string): Victim {
  const target = shop.find(name === 'broker' ? shop.broker : name);
  const { restarts } = target;
  return {
    name,
    kill: async () => target.kill('SIGKILL'),
    isBack: async () => target.restarts > restarts && target.state === 'ready',
  };
}

/** Kills something between the placement of some orders and their end, and checks that nothing is lost or done twice. */
export async function killWhileOrdersAreOnTheirWay(
  shop: Target,
  victim: Victim,
  random: () => number,
): Promise<void> {
  const url = shop.gatewayUrl;
  const sku = await productWithStock(url, 20);
  const ids: string[] = [];
  for (let i = 0; i < 3; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 2 }]));
  await sleep(random() * 30);
  await victim.kill();
  for (let i = 0; i < 2; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 2 }]));
  for (const id of ids) expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
  await until('stock to move once', async () => (await stockOf(url, sku)).committed === 10, 60_000);
  expect(await stockOf(url, sku)).toMatchObject({ received: 20, on_hand: 10, reserved: 0, committed: 10 });
  expect(await until('a look at the dead letters', () => deadLetters(shop))).toEqual([]);
  await until(`${victim.name} to be back`, () => victim.isBack(), 90_000);
}

/** Products whose figures do not add up; there must be none. */
export const stockOff = (shop: Target) =>
  query(
    shop,
    'inventory',
    'SELECT sku FROM stock WHERE received <> on_hand + reserved + committed OR least(on_hand, reserved, committed) < 0',
  );
