import { setTimeout as sleep } from 'node:timers/promises';
import { gbp } from '@sidecart/contracts/money';
import type { NewOrder, Order } from '@sidecart/contracts/orders';
import { UserError } from '../errors.ts';
import { RefusedError } from '../gateway-client.ts';
import { mapAhead } from '../map-ahead.ts';
import type { ShopApi } from '../shop-api.ts';
import type { KnownLines } from './books.ts';
import type { OrderStep, PlannedProduct, Step } from './plan.ts';

/** How an invoice ended; `unmatched` is a cancellation without a match, `rule` says why one was skipped. */
export type Ending =
  | { invoice: string; outcome: 'confirmed' | 'rejected' | 'cancelled' | 'unmatched' }
  | { invoice: string; outcome: 'skipped'; rule: string };

export interface Replay {
  shop: ShopApi;
  /** Names the file by its content: replayed again, it finds its receipts and orders by this. */
  fileId: string;
  signal: AbortSignal;
  /** How soon after placing an order it is looked at for the first time. */
  lookAfterMs?: number;
  /** Called when an invoice has ended; a later cancellation can still make `cancelled` of an order's end. */
  onEnd: () => void;
}

export interface ReplayResult {
  /** In the order of the steps. */
  endings: Ending[];
  /** How many prices were changed in the shop because an invoice had another. */
  priceChanges: number;
  /** Orders that the shop had from an earlier replay of the file. */
  repeated: number;
  /** The lines of the orders by id, as the shop gave them when the order had ended. */
  orderLines: KnownLines;
  /** Orders whose total is not that of their invoice, in words. */
  wrongTotals: string[];
}

const PRODUCTS_AT_A_TIME = 12;
const RECEIPTS_AHEAD = 12;
const UNENDED_ORDERS = 64;

/** Nearly every order has ended by then, so that one look is enough; sooner would only be more load. */
const FIRST_LOOK_MS = 1_000;
const LONGEST_PAUSE_MS = 4_000;
const END_WITHIN_MS = 180_000;

/** Somebody else may change the same price in between, but hardly this often. */
const PRICE_ROUNDS = 5;

/** Those that the shop does not have. */
export async function missingProducts(
  shop: ShopApi,
  products: readonly PlannedProduct[],
): Promise<PlannedProduct[]> {
  const known = new Set<string>();
  for await (const product of shop.products()) known.add(product.sku);
  return products.filter(({ sku }) => !known.has(sku));
}

export async function createProducts(
  shop: ShopApi,
  products: readonly PlannedProduct[],
  onDone: () => void,
): Promise<void> {
  const create = ({ sku, name, price, since }: PlannedProduct) =>
    shop.createProduct({ sku, name, unit_price: gbp(price), effective_on: since });
  for await (const _ of mapAhead(products, PRODUCTS_AT_A_TIME, create)) onDone();
}

/**
 * Takes the steps through three stages, each running ahead of the next: stock for some invoices to come is received;
 * orders are placed one at a time, so that prices change in date order; the ends of the latest ones are
 * awaited. Every request can be repeated, so a replay that was stopped carries on when it is run again.
 */
export async function executeSteps(replay: Replay, steps: readonly Step[]): Promise<ReplayResult> {
  const result: ReplayResult = {
    endings: [],
    priceChanges: 0,
    repeated: 0,
    orderLines: new Map(),
    wrongTotals: [],
  };
  const awaited = new Map<string, Promise<Order | undefined>>();
  const cancelled = new Set<string>();
  const toBeCancelled = new Set(steps.flatMap((step) => (step.kind === 'cancellation' ? step.cancels : [])));

  const endOf = async ({ step, order: placed, refusal }: Underway): Promise<Ending> => {
    const { invoice } = step;
    if (step.kind === 'unmatched') return { invoice, outcome: 'unmatched' };
    if (step.kind === 'skipped') return { invoice, outcome: 'skipped', rule: step.rule };
    if (step.kind === 'order') {
      const end = placed && awaitEnd(replay, placed);
      if (toBeCancelled.has(invoice)) awaited.set(invoice, end ?? Promise.resolve(undefined));
      const order = await end;
      if (order) result.orderLines.set(order.id, order.lines);
      return toEnding(invoice, order, refusal);
    }
    const taken = await cancelEach(replay.shop, step.cancels, invoice, awaited);
    for (const number of taken) cancelled.add(number);
    return { invoice, outcome: taken.length > 0 ? 'cancelled' : 'unmatched' };
  };

  const received = mapAhead(steps, RECEIPTS_AHEAD, (step) => receiveStock(replay, step));
  const ordered = mapAhead(received, 1, (item) => placeOrder(replay, item, result));
  const ended = mapAhead(ordered, UNENDED_ORDERS, async (underway) => {
    const ending = await endOf(underway);
    replay.onEnd();
    return ending;
  });
  for await (const ending of ended) result.endings.push(ending);
  result.endings = result.endings.map((ending) =>
    cancelled.has(ending.invoice) ? { invoice: ending.invoice, outcome: 'cancelled' } : ending,
  );
  return result;
}

/** A step on its way through the stages; `refusal` is the shop's code for why there can be no order. */
interface Underway {
  step: Step;
  order?: Order;
  refusal?: string;
}

async function receiveStock({ shop, fileId }: Replay, step: Step): Promise<Underway> {
  if (step.kind !== 'order') return { step };
  const lines = step.lines.map(({ sku, quantity }) => ({ sku, quantity }));
  const key = `replay-${fileId}-${step.invoice}-stock`;
  return unlessRefused(step, async () => {
    await shop.receiveStock(key, `invoice ${step.invoice}`, lines);
    return { step };
  });
}

async function placeOrder(replay: Replay, underway: Underway, result: ReplayResult): Promise<Underway> {
  const { step, refusal } = underway;
  if (step.kind !== 'order' || refusal !== undefined) return underway;
  return unlessRefused(step, async () => {
    const { order, repeated, priceChanges } = await placeAtItsPrices(replay, step);
    result.priceChanges += priceChanges;
    if (repeated) result.repeated++;
    const total = step.lines.reduce((sum, line) => sum + line.quantity * line.price, 0);
    if (order.total.amount !== total) {
      result.wrongTotals.push(
        `${order.id}: ${order.total.amount} pence, ${total} on invoice ${step.invoice}`,
      );
    }
    return { step, order };
  });
}

/**
 * The shop takes an order only at the current prices, so those of the invoice are made current, as of today: a price
 * dated back would stay behind newer ones, as they are there after an import. An order that the shop has
 * already is answered as it is, and changes no price.
 */
async function placeAtItsPrices({ shop, fileId }: Replay, step: OrderStep) {
  const order: NewOrder = {
    ...(step.customer !== undefined && { customer_id: step.customer }),
    lines: step.lines.map(({ sku, quantity, price }) => ({ sku, quantity, unit_price: gbp(price) })),
  };
  let priceChanges = 0;
  for (let round = 0; round < PRICE_ROUNDS; round++) {
    const placement = await shop.placeOrder(`replay-${fileId}-${step.invoice}-order`, order);
    if ('order' in placement) return { ...placement, priceChanges };
    const changes = placement.changedPrices.flatMap(({ line }) => step.lines[line] ?? []);
    await Promise.all(changes.map(({ sku, price }) => shop.setPrice(sku, gbp(price))));
    priceChanges += changes.length;
  }
  throw new Error(`Invoice ${step.invoice} cannot be placed: somebody else keeps changing its prices.`);
}

/** What the shop refuses for good is an end of the invoice; that it is out of order is none. */
async function unlessRefused(step: Step, act: () => Promise<Underway>): Promise<Underway> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof RefusedError && error.status < 500 && error.status !== 429) {
      return { step, refusal: error.code };
    }
    throw error;
  }
}

async function awaitEnd(
  { shop, signal, lookAfterMs = FIRST_LOOK_MS }: Replay,
  placed: Order,
): Promise<Order> {
  const deadline = performance.now() + END_WITHIN_MS;
  let order = placed;
  for (let pause = lookAfterMs; order.status === 'placed'; pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS)) {
    if (performance.now() > deadline) {
      throw new UserError(
        `Order ${order.id} was placed ${END_WITHIN_MS / 1000} s ago and is neither confirmed nor rejected. ` +
          'See how the shop is (its table and logs: `npm start`), then run the same replay again to carry on.',
      );
    }
    await sleep(pause, undefined, { signal });
    order = await shop.order(order.id);
  }
  return order;
}

/** Cancels the orders of these invoices, each after its end; returns the invoices of those that are now cancelled. */
async function cancelEach(
  shop: ShopApi,
  invoices: readonly string[],
  cancellation: string,
  awaited: ReadonlyMap<string, Promise<Order | undefined>>,
): Promise<string[]> {
  const taken: string[] = [];
  for (const invoice of invoices) {
    const order = await awaited.get(invoice);
    if (order && (await shop.cancelOrder(order.id, `cancelled by invoice ${cancellation}`)))
      taken.push(invoice);
  }
  return taken;
}

function toEnding(invoice: string, order: Order | undefined, refusal: string | undefined): Ending {
  if (order === undefined) return { invoice, outcome: 'skipped', rule: `refused by the shop: ${refusal}` };
  if (order.status === 'placed') throw new Error(`Order ${order.id} has not ended.`);
  return { invoice, outcome: order.status };
}
