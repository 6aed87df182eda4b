import { randomUUID } from 'node:crypto';
import { gbp } from '@sidecart/contracts/money';
import type { Order, Settlement } from '@sidecart/contracts/orders';
import { type Ask, createGateway, type Gateway, RefusedError } from '../../clients/gateway-client.ts';
import { createShopApi, type ShopApi } from '../../clients/shop-api.ts';
import { sleep, until } from './shop.ts';

// Customer, warehouse, carrier and seller in one: looks at an order and does what comes next for it, until it is at its end. Whatever
// was not answered is done again, as all of it may be.

/** What is to become of an order, as far as people decide. */
export interface Course {
  token: string;
  /** Once it is packed; `early`: as soon as it is placed. */
  cancel?: 'early' | 'packed';
  /** Takes pieces off while it is packed. */
  amend?: true;
  /** It is handed over, and does not arrive. */
  lose?: true;
  refund?: { whole: boolean; restock: boolean };
  /** What a person decides, the first time and after that; the last one holds. */
  settle?: Settlement['resolution'][];
}

/** An order on its way. */
export interface Run {
  id: string;
  course: Course;
  refundAsked: boolean;
  settlements: number;
}

export interface Client {
  gateway: Gateway;
  api: ShopApi;
  skus: readonly [string, string];
}

const PIECES = [3, 2] as const;
const PRICE = gbp(250);

export function createClient(url: string, skus: readonly [string, string], signal: AbortSignal): Client {
  const gateway = createGateway({ url, signal, patienceMs: 120_000 });
  return { gateway, api: createShopApi(gateway), skus };
}

export async function place({ api, skus }: Client, course: Course): Promise<Run> {
  const lines = skus.map((sku, i) => ({ sku, quantity: PIECES[i] ?? 1, unit_price: PRICE }));
  const key = randomUUID();
  const order = { lines, payment_token: course.token };
  const placed = await until('an order to be taken', () => answered(api.placeOrder(key, order)), 120_000);
  if (!('order' in placed)) throw new Error('nobody changed a price, and yet it is another');
  return { id: placed.order.id, course, refundAsked: false, settlements: 0 };
}

/** Does what comes next until the order is so. */
export async function follow(
  client: Client,
  run: Run,
  isSo: (order: Order, run: Run) => boolean,
  timeoutMs = 180_000,
): Promise<Order> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const order = await answered(client.api.order(run.id));
    if (order && isSo(order, run)) return order;
    if (Date.now() > deadline)
      throw new Error(
        `order ${run.id} (${JSON.stringify(run.course)}) is ${order?.status}, ${JSON.stringify(order?.progress)}`,
      );
    if (order) await answered(goOn(client, run, order));
    await sleep(80);
  }
}

export function hasEnded(order: Order, { course, refundAsked }: Run): boolean {
  if (order.progress || ['placed', 'confirmed', 'shipped'].includes(order.status)) return false;
  return order.status !== 'delivered' || !course.refund || refundAsked;
}

export async function cancel({ api }: Client, { id }: Run): Promise<void> {
  await answered(api.cancelOrder(id, 'changed my mind'));
}

/** All but one of the first line. */
export async function amend({ gateway, skus }: Client, { id }: Run): Promise<void> {
  const body = { lines: [{ sku: skus[0], quantity: 1 }], reason: 'one will do' };
  await answered(post(gateway, { path: `/v1/orders/${id}/amendments`, body }));
}

async function goOn(client: Client, run: Run, order: Order): Promise<void> {
  const { course } = run;
  const step = order.progress?.step;
  if (step === 'person') return settle(client, run, order);
  if (order.status === 'placed' && course.cancel === 'early') return cancel(client, run);
  if (step === 'hand_over') {
    if (course.cancel) return cancel(client, run);
    if (course.amend && order.lines[0]?.quantity !== 1) return amend(client, run);
    return sendOff(client, run);
  }
  if (step === 'deliver') return arrive(client, run);
  if (order.status === 'delivered' && !step && course.refund && !run.refundAsked) return refund(client, run);
}

async function sendOff({ api }: Client, { id }: Run): Promise<void> {
  const shipment = await api.shipmentOf(id);
  if (shipment?.status !== 'preparing') return;
  await api.packRest(randomUUID(), shipment.id);
  await api.handOver(shipment.id, { carrier: 'Post' });
}

async function arrive({ api, gateway }: Client, { id, course }: Run): Promise<void> {
  const shipment = await api.shipmentOf(id);
  if (shipment?.status !== 'handed_over') return;
  if (!course.lose) return api.deliver(shipment.id);
  await post(gateway, { path: `/v1/shipments/${shipment.id}/lose`, body: { reason: 'fell off the van' } });
}

async function refund({ api, skus }: Client, run: Run): Promise<void> {
  const { whole, restock } = run.course.refund ?? { whole: true, restock: false };
  const lines = whole ? {} : { lines: [{ sku: skus[1], quantity: 1 }] };
  await api.refundOrder(`refund-${run.id}`, run.id, { ...lines, restock, reason: 'torn' });
  run.refundAsked = true;
}

/** Of what is not answered yet there is nothing to decide. */
async function settle({ gateway }: Client, run: Run, { progress }: Order): Promise<void> {
  const { problem_code: problem, refund_id } = progress ?? {};
  const chosen = run.course.settle ?? ['written_off'];
  const resolution = problem?.endsWith('_unanswered')
    ? 'try_again'
    : (chosen[Math.min(run.settlements, chosen.length - 1)] ?? 'written_off');
  const body = { problem, ...(refund_id && { refund_id }), resolution, note: 'seen to' };
  await post(gateway, { path: `/v1/orders/${run.id}/settlement`, body });
  run.settlements += 1;
}

/** 409: it has gone on meanwhile, and the next look tells how. */
async function post(gateway: Gateway, ask: Pick<Ask, 'path' | 'body'>): Promise<void> {
  const whole: Ask = { method: 'POST', ...ask };
  const answer = await gateway.send(whole);
  if (answer.status >= 300 && answer.status !== 409) throw new RefusedError(whole, answer);
}

/** Undefined when nobody could answer, or what was wanted is no longer possible: the order is to be looked at again. */
async function answered<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (err) {
    const isRefusal = err instanceof RefusedError && err.status < 500 && err.status !== 409;
    if (isRefusal || (err instanceof Error && err.name === 'AbortError')) throw err;
    return undefined;
  }
}

export async function readJson<T>(gateway: Gateway, path: string): Promise<T> {
  const ask: Ask = { method: 'GET', path };
  const answer = await gateway.send(ask);
  if (answer.status !== 200) throw new RefusedError(ask, answer);
  return answer.body as T;
}
