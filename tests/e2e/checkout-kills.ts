import { type Movement, Stock } from '@sidecart/contracts/inventory';
import type { CheckoutStep, Dashboard, HistoryEntry, Order } from '@sidecart/contracts/orders';
import type { Shipment } from '@sidecart/contracts/shipping';
import { seededRandom } from '@sidecart/kit/seeded-random';
import { expect } from 'vitest';
import type { OrderSummary } from '../../clients/shop-api.ts';
import { checkoutFaults, type Evidence, type Witnessed } from './checkout-checks.ts';
import {
  amend,
  type Client,
  type Course,
  cancel,
  createClient,
  follow,
  hasEnded,
  place,
  type Run,
  readJson,
} from './checkout-client.ts';
import { stepAt } from './checkout-story.ts';
import { processVictim } from './kills.ts';
import { deadLetters, type LocalShop, productWithStock, sleep, until } from './shop.ts';

/** All that a checkout runs through, and can be killed on the way. */
export const CHECKOUT_VICTIMS = [
  'orders',
  'inventory',
  'payments',
  'shipping',
  'provider',
  'gateway-dapr',
  'products-dapr',
  'orders-dapr',
  'inventory-dapr',
  'payments-dapr',
  'shipping-dapr',
  'broker',
] as const;

/** All that an order can say it waits for. */
export const STEPS = [
  'reserve',
  'authorise',
  'hand_over',
  'cancel',
  'amend',
  'capture',
  'deliver',
  'void',
  'refund',
  'person',
] as const satisfies CheckoutStep[];

/** Those over in an instant: what brings them about is done at the last moment. */
export const BRIEF = ['reserve', 'cancel', 'amend'] as const;
type BriefStep = (typeof BRIEF)[number];

/** Nobody hears of an operation of these payments for seconds, though it is done: long enough to be found under way. */
const LONG = ['tok_late'];
/** A webhook settles those that are slow or not answered. */
const SHORT = ['tok_ok', 'tok_twice', 'tok_down', 'tok_slow', 'tok_timeout'];

const SETTLEMENTS = [['written_off'], ['done_elsewhere'], ['try_again', 'written_off']] as const;

/** Placed at the same moment as well. */
const EXTRA: readonly Course[] = [{ token: 'tok_declined' }, { token: 'tok_ok', cancel: 'early' }];

/** One shop, and the orders of all rounds in it. */
export interface Checkouts {
  shop: LocalShop;
  orders: Map<string, Order>;
  signal: AbortSignal;
}

export interface RoundOptions {
  /** Of what is left to chance. */
  seed: number;
  /** Steps in which an order is to be when it happens; all of them by default. */
  steps?: readonly CheckoutStep[];
  /** The one whose order is watched: killed when it is seen there. Without it, some moment later. */
  aim?: BriefStep | undefined;
}

/**
 * Brings an order to each step, kills the victim while they are all there, brings every order to its end, and holds against each other
 * what everybody says of them. Returns the steps that orders were in when it was killed, by their histories.
 */
export async function killDuringCheckouts(
  all: Checkouts,
  victimName: string,
  { seed, steps = STEPS, aim }: RoundOptions,
): Promise<Set<CheckoutStep>> {
  const { shop, signal } = all;
  const random = seededRandom(seed);
  const skus = [
    await productWithStock(shop.gatewayUrl, 100),
    await productWithStock(shop.gatewayUrl, 100),
  ] as const;
  const client = createClient(shop.gatewayUrl, skus, signal);
  const victim = processVictim(shop, victimName);
  const cast = new Map(steps.map((step) => [step, courseTo(step, random)]));

  const runs = new Map<CheckoutStep, Run>();
  await Promise.all([...cast].map(([step, course]) => prepare(client, runs, step, course)));
  await Promise.all([...cast].map(([step, course]) => begin(client, runs, step, course)));

  const brief = BRIEF.filter((step) => cast.has(step));
  const struck = new Map(brief.map((step) => [step, strike(client, runs, step, cast)]));
  const extras = EXTRA.map((course) => place(client, course));
  const seen = aim && struck.get(aim);
  await (seen ? Promise.race([seen, sleep(2_000)]) : sleep(random() * 60));
  const killedAt = Date.now();
  await victim.kill();

  await Promise.all(struck.values());
  const every = [...runs.values(), ...(await Promise.all(extras))];
  await Promise.all(every.map((run) => follow(client, run, hasEnded)));
  await until(`${victimName} to be back`, () => victim.isBack(), 120_000);
  const witnessed = await expectNoFault(all, client, every);

  const hit = [...runs].filter(([step, { id }]) => {
    const history = witnessed.find(({ order }) => order.id === id)?.history ?? [];
    return stepAt(history, killedAt) === step;
  });
  return new Set(hit.map(([step]) => step));
}

function courseTo(step: CheckoutStep, random: () => number): Course {
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T;
  const [slow, quick, coin] = [one(LONG), one(SHORT), random() < 0.5];
  const lose = coin ? ({ lose: true } as const) : {};
  switch (step) {
    case 'reserve':
      return { token: one([...LONG, ...SHORT]), ...lose };
    case 'authorise':
      return coin ? { token: slow } : { token: slow, cancel: 'packed' };
    case 'hand_over':
    case 'deliver':
      return { token: quick, ...lose };
    case 'cancel':
      return { token: quick, cancel: 'packed' };
    case 'amend':
      return { token: quick, amend: true, ...lose };
    case 'capture':
      return { token: slow, ...lose };
    case 'void':
      return { token: slow, cancel: 'packed' };
    case 'refund':
      return { token: slow, refund: { whole: coin, restock: random() < 0.5 } };
    case 'person': {
      const settle = [...one(SETTLEMENTS)];
      return coin
        ? {
            token: 'tok_refund_refused',
            refund: { whole: random() < 0.5, restock: random() < 0.5 },
            settle,
          }
        : { token: 'tok_capture_refused', settle };
    }
  }
}

/** Where an order waits before what its step needs is done. */
const RESTING: Partial<Record<CheckoutStep, (order: Order) => boolean>> = {
  hand_over: isPacked,
  cancel: isPacked,
  amend: isPacked,
  capture: isPacked,
  void: isPacked,
  deliver: ({ progress }) => progress?.step === 'deliver',
  refund: ({ status, progress }) => status === 'delivered' && !progress,
  person: ({ progress }) => progress?.step === 'person',
};

/** Steps that last for as long as a payment's operation: whether it has begun. */
const BEGUN: Partial<Record<CheckoutStep, (order: Order, run: Run) => boolean>> = {
  authorise: ({ progress }) => progress?.step !== 'reserve',
  capture: (order) => !isPacked(order),
  void: ({ status }) => status === 'cancelled',
  refund: (_, { refundAsked }) => refundAsked,
};

function isPacked({ progress }: Order): boolean {
  return progress?.step === 'hand_over';
}

async function prepare(client: Client, runs: Map<CheckoutStep, Run>, step: CheckoutStep, course: Course) {
  const resting = RESTING[step];
  if (!resting) return;
  const run = await place(client, course);
  runs.set(step, run);
  await follow(client, run, resting);
}

async function begin(client: Client, runs: Map<CheckoutStep, Run>, step: CheckoutStep, course: Course) {
  const begun = BEGUN[step];
  if (!begun) return;
  const run = runs.get(step) ?? (await place(client, course));
  runs.set(step, run);
  await follow(client, run, begun);
}

/** Resolves when the shop has said that the order is there, or is asked in vain. */
async function strike(
  client: Client,
  runs: Map<CheckoutStep, Run>,
  step: BriefStep,
  cast: ReadonlyMap<CheckoutStep, Course>,
): Promise<void> {
  const run = runs.get(step);
  const course = cast.get(step);
  if (step === 'reserve' && course) runs.set(step, await place(client, course));
  else if (run) await (step === 'cancel' ? cancel : amend)(client, run);
}

/** Lists and stock follow the orders, so they are looked at again for a while. */
async function expectNoFault(all: Checkouts, client: Client, runs: readonly Run[]): Promise<Witnessed[]> {
  let evidence: Evidence | undefined;
  let faults: string[] = [];
  const deadline = Date.now() + 60_000;
  do {
    evidence = await gather(all, client, runs);
    faults = checkoutFaults(evidence);
    if (faults.length > 0) await sleep(500);
  } while (faults.length > 0 && Date.now() < deadline);
  expect(faults).toEqual([]);
  expect(await until('a look at the dead letters', () => deadLetters(all.shop))).toEqual([]);
  return [...evidence.witnessed];
}

async function gather({ shop, orders }: Checkouts, client: Client, runs: readonly Run[]): Promise<Evidence> {
  const { gateway, api, skus } = client;
  const witnessed = await Promise.all(runs.map(({ id }) => witness(client, id)));
  for (const { order } of witnessed) orders.set(order.id, order);
  const list: OrderSummary[] = [];
  for await (const listed of api.orders()) list.push(listed);
  const left = [...orders.values()].filter(({ paid }) => (paid?.amount ?? 0) > 0);
  return {
    witnessed,
    list,
    ledger: await shop.ledger(),
    movements: (await Promise.all(skus.map((sku) => movementsOf(client, sku)))).flat(),
    stock: await Promise.all(
      skus.map(async (sku) => Stock.parse(await readJson(gateway, `/v1/stock/${sku}`))),
    ),
    dashboard: await readJson<Dashboard>(gateway, '/v1/dashboard'),
    unitsShipped: left.flatMap(({ lines }) => lines).reduce((sum, { quantity }) => sum + quantity, 0),
  };
}

async function witness({ gateway, api }: Client, id: string): Promise<Witnessed> {
  const [order, { items: history }, summary] = await Promise.all([
    api.order(id),
    readJson<{ items: HistoryEntry[] }>(gateway, `/v1/orders/${id}/history`),
    api.shipmentOf(id),
  ]);
  const shipment = summary && (await readJson<Shipment>(gateway, `/v1/shipments/${summary.id}`));
  return { order, history, shipment };
}

async function movementsOf({ gateway }: Client, sku: string): Promise<Movement[]> {
  const all: Movement[] = [];
  let cursor = '';
  do {
    const path = `/v1/stock/${sku}/movements?limit=200${cursor && `&cursor=${cursor}`}`;
    const page = await readJson<{ items: Movement[]; next_cursor?: string }>(gateway, path);
    all.push(...page.items);
    cursor = page.next_cursor ?? '';
  } while (cursor);
  return all;
}
