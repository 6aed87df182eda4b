import { setTimeout as sleep } from 'node:timers/promises';
import { gbp } from '@sidecart/contracts/money';
import type { NewOrderInput, NewRefund, Order } from '@sidecart/contracts/orders';
import { UserError } from '../errors.ts';
import { RefusedError } from '../gateway-client.ts';
import { mapAhead } from '../map-ahead.ts';
import type { ShipmentSummary, ShopApi } from '../shop-api.ts';
import type { KnownOrders } from './books.ts';
import { valueOfRefunded } from './money.ts';
import type { OrderStep, PlannedProduct, Step } from './plan.ts';

/**
 * How an invoice ended: of an order, its status; of a cancellation whether it cancelled whole orders only, or had money given back;
 * `unmatched` is one without a match. `rule` says why one was skipped.
 */
export type Ending =
  | { invoice: string; outcome: Exclude<Order['status'], 'placed'> | 'refunded' | 'unmatched' }
  | { invoice: string; outcome: 'skipped'; rule: string };

export interface Replay {
  shop: ShopApi;
  /** Names the file by its content: replayed again, it finds its receipts and orders by this. */
  fileId: string;
  signal: AbortSignal;
  /** How soon an order is looked at for the first time after something was asked for. */
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
  /** The orders by id, as the shop gave them last. */
  orders: KnownOrders;
  /** Orders whose total is not that of their invoice, in words. */
  wrongTotals: string[];
}

const PRODUCTS_AT_A_TIME = 12;
const RECEIPTS_AHEAD = 12;
/** Each is waited for some seconds: until it is confirmed, has left, and has arrived. */
const UNENDED_ORDERS = 192;

/** Nearly every order has ended by then, so that one look is enough; sooner would only be more load. */
const FIRST_LOOK_MS = 1_000;
const LONGEST_PAUSE_MS = 4_000;
const END_WITHIN_MS = 180_000;

/** Somebody else may change the same price, or amend the same order, in between, but hardly this often. */
const PRICE_ROUNDS = 5;
const PACKING_ROUNDS = 5;

const CARRIER = 'Sidecart van';

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
 * orders are placed one at a time, so that prices change in date order; the latest ones are followed, and packed, handed over and
 * delivered as a warehouse would. What takes an order back waits for its end. Every request can be repeated, so a replay
 * that was stopped carries on when it is run again.
 */
export async function executeSteps(replay: Replay, steps: readonly Step[]): Promise<ReplayResult> {
  const result: ReplayResult = {
    endings: [],
    priceChanges: 0,
    repeated: 0,
    orders: new Map(),
    wrongTotals: [],
  };
  const follow = createFollower(result.orders);
  const cancelled = new Set<string>();

  const endOf = async ({ step, order: placed, refusal }: Underway): Promise<Ending> => {
    const { invoice } = step;
    if (step.kind === 'unmatched') return { invoice, outcome: 'unmatched' };
    if (step.kind === 'skipped') return { invoice, outcome: 'skipped', rule: step.rule };
    if (step.kind === 'order') {
      const order = await follow(invoice, async () => placed && fulfil(replay, step, placed));
      return toEnding(invoice, order, refusal);
    }
    const taken = await Promise.all([
      ...step.cancels.map((number) => follow(number, cancelOf(replay, number, step.invoice))),
      ...step.refunds.map(({ invoice: number, lines }) =>
        follow(
          number,
          refundOf(replay, number, { lines, restock: true, reason: reasonOf(invoice) }, invoice),
        ),
      ),
    ]);
    for (const [i, number] of step.cancels.entries())
      if (taken[i]?.status === 'cancelled') cancelled.add(number);
    const outcomes = taken.map((order) =>
      order?.status === 'cancelled' ? 'cancelled' : order && 'refunded',
    );
    const outcome = (['refunded', 'cancelled'] as const).find((each) => outcomes.includes(each));
    return { invoice, outcome: outcome ?? 'unmatched' };
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
  const order: NewOrderInput = {
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
    if (isRefusedForGood(error)) return { step, refusal: error.code };
    throw error;
  }
}

type Follow = (
  invoice: string,
  act: (order: Order | undefined) => Promise<Order | undefined>,
) => Promise<Order | undefined>;

/**
 * What is done about the order of one invoice is done one after the other, in the order of the steps. `act` gets the order as it was
 * left, undefined when there is none, and gives what has become of it, undefined when it did nothing.
 */
function createFollower(known: KnownOrders): Follow {
  const latest = new Map<string, Promise<Order | undefined>>();
  return (invoice, act) => {
    const before = latest.get(invoice) ?? Promise.resolve(undefined);
    const done = before.then(async (order) => ({ order, after: await act(order) }));
    // Whoever waits for this step meets its failure; the steps after it have nothing to go on with.
    const left = done.then(
      ({ order, after }) => after ?? order,
      () => undefined,
    );
    latest.set(invoice, left);
    return done.then(({ after }) => {
      if (after) known.set(after.id, after);
      return after;
    });
  };
}

/** Follows an order to its end, and does on the way what the warehouse does. */
async function fulfil(replay: Replay, step: OrderStep, placed: Order): Promise<Order> {
  const { shop } = replay;
  const confirmed = await until(replay, placed, (order) => order.status !== 'placed');
  if (!step.leaves) return confirmed;
  const shipment = await shipmentOf(replay, confirmed);
  if (!shipment) return until(replay, confirmed, hasEnded);
  if (shipment.status === 'preparing') await sendOff(replay, step, shipment);
  const shipped = await until(replay, confirmed, (order) => order.status !== 'confirmed');
  if (shipped.status !== 'shipped') return shipped;
  await shop.deliver(shipment.id);
  return until(replay, shipped, hasEnded);
}

/** Packs and hands over; somebody may amend the order between the two, and then it is packed again. */
async function sendOff({ shop, fileId }: Replay, step: OrderStep, shipment: ShipmentSummary): Promise<void> {
  for (let round = 0; round < PACKING_ROUNDS; round++) {
    await shop.packRest(`replay-${fileId}-${step.invoice}-package-${round}`, shipment.id);
    if (await shop.handOver(shipment.id, { carrier: CARRIER })) return;
  }
}

/** Shipping hears of an order a moment after its confirmation. Undefined when the order is no longer to be packed. */
async function shipmentOf(replay: Replay, confirmed: Order): Promise<ShipmentSummary | undefined> {
  let shipment: ShipmentSummary | undefined;
  const isThere = async (order: Order) => {
    if (order.status === 'rejected' || order.status === 'cancelled') return true;
    shipment = await replay.shop.shipmentOf(order.id);
    return shipment !== undefined;
  };
  await until(replay, confirmed, isThere);
  return shipment;
}

/** Cancels the whole order before it leaves; should somebody else have handed it over, its money is given back. */
function cancelOf(replay: Replay, number: string, cancellation: string) {
  return async (order: Order | undefined): Promise<Order | undefined> => {
    if (!order || order.status === 'rejected') return undefined;
    const reason = reasonOf(cancellation);
    const asked = await replay.shop.cancelOrder(order.id, reason);
    const end = await until(replay, asked ?? order, (now) => now.status !== 'confirmed');
    return end.status === 'cancelled'
      ? end
      : refundOf(replay, number, { restock: true, reason }, cancellation)(end);
  };
}

/** Gives money back for pieces of an order that has left; undefined when the shop does not. */
function refundOf(replay: Replay, number: string, refund: NewRefund, cancellation: string) {
  return async (order: Order | undefined): Promise<Order | undefined> => {
    if (!order || !LEFT.includes(order.status)) return undefined;
    const key = `replay-${replay.fileId}-${cancellation}-refund-${number}`;
    const asked = await ifNotRefused(() => replay.shop.refundOrder(key, order.id, refund));
    return asked && until(replay, asked, isPaidBack);
  };
}

const LEFT: Order['status'][] = ['shipped', 'delivered', 'lost'];

function hasEnded({ status }: Order): boolean {
  return ['delivered', 'lost', 'rejected', 'cancelled'].includes(status);
}

function isPaidBack(order: Order): boolean {
  return (order.refunded?.amount ?? 0) === valueOfRefunded(order);
}

/** Asks until the order is so. With one that needs a person the replay does not go on: nobody knows what will become of it. */
async function until(
  { shop, signal, lookAfterMs = FIRST_LOOK_MS }: Replay,
  known: Order,
  isSo: (order: Order) => boolean | Promise<boolean>,
): Promise<Order> {
  const deadline = performance.now() + END_WITHIN_MS;
  let order = known;
  for (let pause = lookAfterMs; ; pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS)) {
    refuseIfInNeed(order);
    if (await isSo(order)) return order;
    if (performance.now() > deadline) {
      throw new UserError(
        `Order ${order.id} has been ${order.status} for ${END_WITHIN_MS / 1000} s; it waits for ` +
          `${order.progress?.waits_for ?? 'nothing that it tells of'}. ` +
          'See how the shop is (its table and logs: `npm start`), then run the same replay again to carry on.',
      );
    }
    await sleep(pause, undefined, { signal });
    order = await shop.order(order.id);
  }
}

function refuseIfInNeed({ id, progress }: Order): void {
  if (progress?.step !== 'person') return;
  throw new UserError(
    `Order ${id} needs a person: ${progress.problem}. Settle it (POST /v1/orders/${id}/settlement), ` +
      'then run the same replay again to carry on.',
  );
}

async function ifNotRefused<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (isRefusedForGood(error)) return undefined;
    throw error;
  }
}

function isRefusedForGood(error: unknown): error is RefusedError {
  return error instanceof RefusedError && error.status < 500 && error.status !== 429;
}

function reasonOf(cancellation: string): string {
  return `cancelled by invoice ${cancellation}`;
}

function toEnding(invoice: string, order: Order | undefined, refusal: string | undefined): Ending {
  if (order === undefined) return { invoice, outcome: 'skipped', rule: `refused by the shop: ${refusal}` };
  if (order.status === 'placed') throw new Error(`Order ${order.id} has not ended.`);
  return { invoice, outcome: order.status };
}
