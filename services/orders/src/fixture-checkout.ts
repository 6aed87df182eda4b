import { isDeepStrictEqual } from 'node:util';
import type { StockLine } from '@sidecart/contracts/common';
import { gbp, multiplyMoney } from '@sidecart/contracts/money';
import { DomainError } from '@sidecart/kit/domain-error';
import { expect } from 'vitest';
import { commandsOf, deadlinesOf, factOf, type StepTimeouts } from './checkout.ts';
import { fakeNeighbours, type Neighbours, type Said, type Sent } from './fixture-neighbours.ts';
import { decide } from './order.ts';
import type { OrderCommand, OrderEvent, Problem, Resolution } from './order-events.ts';
import { samePieces } from './order-lines.ts';
import { evolve, initialState, isFinal, type OrderState } from './order-state.ts';
import { toOrder } from './view.ts';

// One order among its neighbours, and a bag of messages on their way: any of them may come at any time, twice, before one that was sent
// earlier. So may deadlines, and so may people do what they do. When all is over the books of all of them must agree.

/** What may happen next. `n` chooses one of what there is. */
export type Happening =
  | { do: 'deliver'; n: number; keep: boolean }
  | { do: 'deliver everything'; outcome: 'done' | 'refused' }
  | { do: 'deadline'; n: number }
  | { do: 'provider'; n: number; outcome: 'done' | 'refused' }
  | { do: 'cancel' }
  | { do: 'hand over' }
  | { do: 'arrive' }
  | { do: 'lose' }
  | { do: 'amend'; lines: StockLine[] }
  | { do: 'refund'; lines: StockLine[] | undefined; restock: boolean }
  | { do: 'settle'; resolution: Resolution; n: number }
  /** Nobody answers in time, twice; then a person settles it without. The answers may still come. */
  | { do: 'give up'; resolution: Resolution };

/** What is left out, to show that it is missed. */
export type Part = 'release' | 'void' | 'deadlines' | 'settling without an answer';

/** What gets lost each time, the question or its answer: a dead letter that was discarded. */
export interface Silence {
  about: 'capture' | 'void' | 'refund' | 'cancel' | 'amend' | 'hand over';
  lost: 'question' | 'answer';
}
const QUESTIONS: Record<Silence['about'], readonly string[]> = {
  capture: ['CapturePayment'],
  void: ['VoidPayment'],
  refund: ['RefundPayment'],
  cancel: ['CancelShipment'],
  amend: ['AmendShipment'],
  'hand over': [],
};
const ANSWERS: Record<Silence['about'], readonly Said['type'][]> = {
  capture: ['NotePaymentCaptured', 'NoteCaptureRefused'],
  void: ['NotePaymentVoided', 'NoteVoidRefused'],
  refund: ['NotePaymentRefunded', 'NoteRefundRefused'],
  cancel: ['NoteShipmentCancelled'],
  amend: ['NoteShipmentAmended'],
  'hand over': ['NoteShipmentHandedOver'],
};

interface Message {
  to: 'inventory' | 'payments' | 'shipping' | 'orders';
  message: Sent | { answer: Said };
}

const LINES = [
  { sku: 'HEART', quantity: 3, unitPrice: gbp(255) },
  { sku: 'LANTERN', quantity: 2, unitPrice: gbp(1000) },
];
const TIMEOUTS = new Proxy({}, { get: () => 1 }) as StepTimeouts;
const TAKER: Record<string, Message['to']> = {
  ReserveStock: 'inventory',
  ReleaseStock: 'inventory',
  OrderConfirmed: 'inventory',
  AuthorisePayment: 'payments',
  CapturePayment: 'payments',
  VoidPayment: 'payments',
  RefundPayment: 'payments',
  CreateShipment: 'shipping',
  AmendShipment: 'shipping',
  CancelShipment: 'shipping',
};
/** More rounds than any order needs to end. */
const ROUNDS = 200;

/** Does these things to a new order, lets everything come to its end, and compares the books. Throws when they do not agree. */
export function runCheckout(
  happenings: readonly Happening[],
  o: {
    /** Pieces on hand of each product. */
    stock: number;
    /** Choices for the time when everything comes to its end. */
    endings: readonly number[];
    neighbours?: Neighbours | undefined;
    without?: Part | undefined;
    silence?: Silence | undefined;
  },
): { events: OrderEvent[]; status: OrderState['status'] } {
  const lost: readonly string[] = o.silence
    ? (o.silence.lost === 'question' ? QUESTIONS : ANSWERS)[o.silence.about]
    : [];
  let state: OrderState = initialState();
  const events: OrderEvent[] = [];
  const facts: string[] = [];
  const undelivered: Message[] = [];
  const delivered: Message[] = [];
  const deadlines: { step: Extract<OrderCommand, { type: 'NoteStepOverdue' }>['step']; entry: number }[] = [];
  const firedDeadlines: typeof deadlines = [];
  let ids = 0;
  let clock = 0;
  const now = () => new Date(Date.UTC(2026, 2, 14) + 1000 * clock++).toISOString();
  const say = (answer: Said) => {
    if (!lost.includes(answer.type)) undelivered.push({ to: 'orders', message: { answer } });
  };
  const onHand = new Map(LINES.map(({ sku }) => [sku, o.stock]));
  const { inventory, payments, shipping } = (o.neighbours ?? fakeNeighbours)(onHand, say);

  function handle(command: OrderCommand): void {
    const before = state;
    const happened = decide(command, state);
    for (const event of happened) state = evolve(state, event);
    events.push(...happened);
    if (state.status === 'none' || happened.length === 0) return;
    const after = state;
    for (const event of happened) {
      const fact = factOf(event, after);
      if (fact) facts.push(fact.type);
      const sent = [...(fact ? [fact] : []), ...commandsOf(event, after)];
      for (const { type, data } of sent) {
        const to = TAKER[type];
        const isLost =
          lost.includes(type) ||
          (o.without === 'release' && type === 'ReleaseStock') ||
          (o.without === 'void' && type === 'VoidPayment');
        if (to && !isLost) undelivered.push({ to, message: { type, data } });
      }
    }
    if (o.without === 'deadlines') return;
    for (const { data } of deadlinesOf(before, after, TIMEOUTS)) {
      const { step, entry } = data as (typeof deadlines)[0];
      deadlines.push({ step, entry });
    }
  }

  /** People are told what cannot be done; that is no fault. */
  function ask(command: OrderCommand): void {
    try {
      handle(command);
    } catch (err) {
      if (!(err instanceof DomainError)) throw err;
    }
  }

  /** What an answer cannot be, would be a dead letter: it never may come to that. */
  function take({ to, message }: Message): void {
    if ('answer' in message)
      handle({ newRefundId: `rfd_${ids++}`, ...message.answer, at: now() } as OrderCommand);
    else if (to === 'inventory') inventory.take(message);
    else if (to === 'payments') payments.take(message);
    else if (to === 'shipping') shipping.take(message);
  }

  function deliver(n: number, keep: boolean): void {
    const all = [...undelivered, ...delivered];
    const message = all[n % Math.max(1, all.length)];
    if (!message) return;
    const index = undelivered.indexOf(message);
    if (index >= 0 && !keep) delivered.push(...undelivered.splice(index, 1));
    take(message);
  }

  function fire(n: number): void {
    const all = [...deadlines, ...firedDeadlines];
    const deadline = all[n % Math.max(1, all.length)];
    if (!deadline) return;
    const index = deadlines.indexOf(deadline);
    if (index >= 0) firedDeadlines.push(...deadlines.splice(index, 1));
    handle({ type: 'NoteStepOverdue', ...deadline, at: now() });
  }

  function settle(n: number, resolution: Resolution): void {
    if (state.status === 'none') return;
    const open = state.problems[n % Math.max(1, state.problems.length)];
    if (open && !mayBeSaid(open.problem, resolution, state.lines)) return;
    ask({
      type: 'SettleOrder',
      problem: open?.problem,
      refundId: open?.refundId,
      resolution,
      note: 'seen to',
      newRefundId: `rfd_${ids++}`,
      at: now(),
    });
  }

  /** A person looks at the shelf before saying that it is stopped, or has left. */
  function mayBeSaid(problem: Problem, resolution: Resolution, lines: readonly StockLine[]): boolean {
    const isUnanswered = problem.endsWith('unanswered') && problem !== 'deliver_unanswered';
    if (resolution === 'try_again' || !isUnanswered) return true;
    if (o.without === 'settling without an answer') return false;
    if (problem !== 'cancel_unanswered') return true;
    const left = shipping.left();
    if (resolution === 'written_off') return samePieces(left, lines);
    if (left.length > 0) return false;
    shipping.stop();
    return true;
  }

  /** All that is overdue. */
  function passTime(): void {
    for (let n = deadlines.length; n > 0; n--) fire(0);
  }

  function giveUp(resolution: Resolution): void {
    passTime();
    settle(0, 'try_again');
    passTime();
    settle(0, resolution);
  }

  const does: { [D in Happening['do']]: (one: Extract<Happening, { do: D }>) => void } = {
    deliver: ({ n, keep }) => deliver(n, keep),
    'deliver everything': ({ outcome }) => deliverAll(0, outcome),
    deadline: ({ n }) => fire(n),
    provider: ({ n, outcome }) => payments.provider(n, outcome),
    cancel: () => ask({ type: 'CancelOrder', reason: 'changed my mind', at: now() }),
    amend: ({ lines }) => ask({ type: 'AmendOrder', amendmentId: `amd_${ids++}`, changes: lines, at: now() }),
    refund: ({ lines, restock }) =>
      ask({ type: 'RefundOrder', refundId: `rfd_${ids++}`, lines, restock, reason: 'torn', at: now() }),
    settle: ({ n, resolution }) => settle(n, resolution),
    'give up': ({ resolution }) => giveUp(resolution),
    'hand over': () => shipping.handOver(),
    arrive: () => shipping.arrive('delivered'),
    lose: () => shipping.arrive('lost'),
  };

  /** The provider says the same to whatever it is asked. */
  function deliverAll(n: number, outcome: 'done' | 'refused'): void {
    while (undelivered.length > 0 || payments.provider(n, outcome))
      if (undelivered.length > 0) deliver(n % undelivered.length, false);
  }

  function lastWord(problem: Problem, chance: number): Resolution {
    if (problem === 'deliver_unanswered') return 'done_elsewhere';
    if (problem === 'amend_unanswered') return 'written_off';
    if (problem === 'cancel_unanswered') return shipping.left().length > 0 ? 'written_off' : 'done_elsewhere';
    return chance % 4 < 2 ? 'written_off' : 'done_elsewhere';
  }

  /** Everything is delivered, everything that is overdue is seen to, and somebody settles what is left. */
  function end(): void {
    for (let round = 0; round < ROUNDS; round++) {
      const chance = o.endings[round % o.endings.length] ?? 0;
      deliverAll(chance, round < ROUNDS / 4 && chance % 3 === 0 ? 'refused' : 'done');
      if (state.status !== 'none' && state.problems.length > 0) {
        const { problem } = state.problems[0] as { problem: Problem };
        // Where nothing is lost every answer comes, and whoever does not give up needs no other way.
        const willCome = !o.silence && problem.endsWith('unanswered') && problem !== 'deliver_unanswered';
        const tired = !willCome && (round > ROUNDS / 2 || chance % 2 > 0);
        const before = events.length;
        if (tired) settle(0, lastWord(problem, chance));
        if (events.length === before) settle(0, 'try_again');
      } else if (deadlines.length > 0) fire(chance % deadlines.length);
      else if (undelivered.length === 0) return;
    }
  }

  handle({
    type: 'PlaceOrder',
    orderId: 'ord_1',
    actor: 'anonymous',
    lines: LINES,
    quotes: LINES.map(({ sku, unitPrice }) => ({ sku, unitPrice, status: 'active' as const })),
    paymentToken: 'tok_ok',
    at: now(),
  });
  for (const one of happenings) {
    (does[one.do] as (one: Happening) => void)(one);
    const { captured, refunded } = payments.book();
    if (refunded > captured) throw new Error('More was paid back than was taken');
    tellsWhatItWaitsFor(state);
  }
  end();
  compareBooks({
    state,
    events,
    facts,
    inventory,
    payments,
    shipping,
    stock: o.stock,
    cut: o.endings[0] ?? 0,
    lost,
  });
  return { events, status: state.status };
}

/** An order that is not at its end says what it waits for. */
function tellsWhatItWaitsFor(state: OrderState): void {
  if (isFinal(state) !== (toOrder(state).progress === undefined))
    throw new Error(
      `It says ${JSON.stringify(toOrder(state).progress)}, and is${isFinal(state) ? '' : ' not'} at its end`,
    );
}

function compareBooks(
  o: ReturnType<Neighbours> & {
    state: OrderState;
    events: OrderEvent[];
    facts: string[];
    stock: number;
    cut: number;
    lost: readonly string[];
  },
): void {
  const { state, events, facts, inventory, payments, shipping, lost } = o;
  if (state.status === 'none') throw new Error('There is no order');
  const book = payments.book();
  const left = shipping.left();
  const settled = (...problems: Problem[]) =>
    events.some(
      (e) => e.type === 'OrderSettled' && problems.includes(e.problem) && e.resolution !== 'try_again',
    );

  expect(isFinal(state), `at its end: ${JSON.stringify(state.waiting ?? state.problems)}`).toBe(true);
  expect(['delivered', 'lost', 'rejected', 'cancelled']).toContain(state.status);
  expect(['delivered', 'lost'].includes(state.status), 'it has left').toBe(left.length > 0);

  const due = left.reduce((sum, line) => sum + priceOf(line), 0);
  const captured = settled('capture_refused', 'capture_unanswered') ? [0, due] : [due];
  expect(captured, 'money taken').toContain(book.captured);
  // An order knows nothing of what it is never told.
  const [paid, refunded] = [state.paid.amount, state.refunded.amount];
  const told = {
    paid: lost.includes('NotePaymentCaptured') ? 0 : book.captured,
    refunded: lost.includes('NotePaymentRefunded') ? 0 : book.refunded,
  };
  expect({ paid, refunded }, 'what the order says of it').toEqual(told);
  expect(book.refunded).toBeLessThanOrEqual(book.captured);
  const settledPieces = state.lines.reduce((sum, line) => sum + line.settled * line.unitPrice.amount, 0);
  if (state.status === 'lost')
    expect(refunded, 'paid back of what was lost').toBe(Math.max(0, paid - settledPieces));
  if (left.length === 0)
    expect(payments.isHeld() && !settled('void_refused', 'void_unanswered'), 'money still held').toBe(false);

  const kept = left.map(({ sku, quantity }) => [
    sku,
    quantity - (state.lines.find((l) => l.sku === sku)?.restocked ?? 0),
  ]);
  const held = [...inventory.held].filter(([, quantity]) => quantity > 0);
  expect(new Map(held), 'stock that is with the order').toEqual(
    new Map(kept.filter(([, n]) => n !== 0) as never),
  );
  for (const [sku, quantity] of inventory.onHand)
    expect(quantity + (inventory.held.get(sku) ?? 0)).toBe(o.stock);
  if (held.length > 0) expect(inventory.isReserved(), 'still only set aside').toBe(false);

  const once = facts.filter((type) => !['OrderAmended', 'OrderRefunded'].includes(type));
  expect(new Set(once).size, `each told once: ${once}`).toBe(once.length);

  replaysTheSame(events, o.cut % (events.length + 1), state);
}

/** From its stored events, all of them or those after a stored state: a snapshot, or what a condensed stream begins with. */
function replaysTheSame(events: readonly OrderEvent[], cut: number, state: OrderState): void {
  const stored = <T>(value: T): T => JSON.parse(JSON.stringify(value));
  const all = stored(events);
  const middle = stored(all.slice(0, cut).reduce(evolve, initialState()));
  for (const again of [all.reduce(evolve, initialState()), all.slice(cut).reduce(evolve, middle)])
    if (!isDeepStrictEqual(again, stored(state))) throw new Error('What is stored gives another state');
}

function priceOf({ sku, quantity }: StockLine): number {
  const line = LINES.find((candidate) => candidate.sku === sku);
  return line ? multiplyMoney(line.unitPrice, quantity).amount : Number.NaN;
}
