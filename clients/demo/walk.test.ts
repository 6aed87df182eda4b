import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { Gateway } from '../gateway-client.ts';
import { keepBooks } from '../replay/books.ts';
import { createFakeShop } from '../testing/fake-shop.ts';
import { createTranscript } from './transcript.ts';
import { WalkError, walk } from './walk.ts';

/** Walks through a shop in memory; gives what was printed. */
async function walkThrough(gateway: Gateway): Promise<string[]> {
  const printed: string[] = [];
  const transcript = createTranscript((line) => printed.push(stripVTControlCharacters(line)));
  await walk({ gateway, transcript, signal: new AbortController().signal });
  return printed;
}

test('the walk goes through the whole checkout, twice, and leaves books that agree', async () => {
  const shop = createFakeShop();
  for (const round of [1, 2]) {
    const printed = await walkThrough(shop.gateway);
    expect(printed.filter((line) => /^\n\d+\./.test(line))).toHaveLength(14);
    const ends = [...shop.placedOrders.values()].map(({ status }) => status);
    const walked = ['delivered', 'rejected', 'cancelled', 'delivered', 'rejected'];
    expect(ends).toEqual(Array.from({ length: round }, () => walked).flat());
  }
  expect(await keepBooks(shop.placedOrders.values(), shop.stock(), shop.payments())).toMatchObject({
    faults: [],
    unsettled: [],
    leftOrders: 4,
  });
});

test('control: what is not as expected ends it', async () => {
  const shop = createFakeShop();
  const gateway: Gateway = {
    ...shop.gateway,
    async send(ask) {
      // The shop takes the money of what it should only hold.
      for (const payment of shop.paymentsByOrder.values()) payment.captured = payment.authorised;
      return shop.gateway.send(ask);
    },
  };
  await expect(walkThrough(gateway)).rejects.toThrow(WalkError);
});
