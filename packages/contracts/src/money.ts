import { z } from 'zod';

/** The one currency of the shop. A second one means a decision about exchange rates, not a longer list here. */
const currency = z.literal('GBP');

/** An amount of money in minor units (pence): `{ amount: 1250, currency: 'GBP' }` is 12.50 pounds. Never a fraction. */
export const Money = z
  .object({ amount: z.int().min(0), currency })
  .meta({ id: 'Money', description: 'An amount in minor units (pence), as a whole number.' });
export type Money = z.infer<typeof Money>;

/**
 * The price of one piece, from a client. The upper bound keeps the largest order there can be
 * (500 lines of 100,000 pieces) within what a double counts exactly.
 */
export const UnitPrice = z
  .strictObject({ amount: z.int().min(1).max(100_000_000), currency })
  .meta({ id: 'UnitPrice', description: 'The price of one piece, in minor units (pence), above zero.' });

/** Adds amounts of one currency; an empty list is zero pounds. Throws RangeError past the safe integers. */
export function addMoney(amounts: readonly Money[]): Money {
  return gbp(amounts.reduce((sum, money) => sum + money.amount, 0));
}

/** `price` times a whole `quantity`. Throws RangeError past the safe integers. */
export function multiplyMoney(price: Money, quantity: number): Money {
  return gbp(price.amount * quantity);
}

/** True when both are the same amount of the same currency. */
export function sameMoney(a: Money, b: Money): boolean {
  return a.amount === b.amount && a.currency === b.currency;
}

/** `amount` pence. Throws RangeError for what is no whole, non-negative, exactly representable number. */
export function gbp(amount: number): Money {
  if (!Number.isSafeInteger(amount) || amount < 0) throw new RangeError(`${amount} is no amount of pence`);
  return { amount, currency: 'GBP' };
}
