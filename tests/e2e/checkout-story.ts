import type { AwaitedStep, CheckoutStep, HistoryEntry, Order } from '@sidecart/contracts/orders';

// An order's history read as somebody would who knows the table of docs/checkout.md and nothing of the code of orders: could this have
// happened, and is the order what it comes to?

interface Told {
  status: Order['status'] | 'none';
  step: AwaitedStep | undefined;
  /** Money was asked for. */
  asked: boolean;
  handedOver: boolean;
  arrived: 'delivered' | 'lost' | undefined;
  cancelling: boolean;
  amendment: string | undefined;
  total: number;
  pieces: Map<string, number>;
  paid: number;
  refunded: number;
  refunds: Map<string, 'asked' | 'paid' | 'refused' | 'given up'>;
  /** A person has settled it without its money, which may come all the same. */
  withoutMoney: boolean;
  problems: Set<string>;
}

/** What an event says, as far as it is needed here. */
interface Details {
  reason?: string;
  amendmentId?: string;
  refundId?: string;
  problem?: string;
  resolution?: string;
  total?: { amount: number };
  amount?: { amount: number };
  paid?: { amount: number };
  lines?: { sku: string; quantity: number }[];
}

/** Answers and ends that an order has at most once, whatever is delivered twice. */
const ONCE = [
  'OrderPlaced',
  'StockHeld',
  'OrderConfirmed',
  'OrderRejected',
  'OrderCancelled',
  'PaymentReleased',
  'OrderHandedOver',
  'OrderShipped',
  'OrderDelivered',
  'OrderLost',
];

/** Everything in a history that cannot be, or that the order does not agree with, in words. */
export function storyFaults(order: Order, history: readonly HistoryEntry[]): string[] {
  const faults: string[] = [];
  const told = tell(history, (entry, why) => faults.push(`${entry.version} ${entry.type}: ${why}`));
  history.forEach(({ version }, i) => {
    if (version !== i + 1) faults.push(`version ${version} is the ${i + 1}th`);
  });
  for (const type of ONCE) {
    const times = history.filter((entry) => entry.type === type).length;
    if (times > 1) faults.push(`${type} ${times} times`);
  }
  const effects = history.flatMap(({ caused_by, type }) => (caused_by ? [`${type} of ${caused_by}`] : []));
  for (const twice of effects.filter((effect, i) => effects.indexOf(effect) !== i))
    faults.push(`${twice} twice`);
  const pieces = new Map(order.lines.map(({ sku, quantity }) => [sku, quantity]));
  const pairs: [string, unknown, unknown][] = [
    ['status', told.status, order.status],
    ['step', stepOf(told), order.progress?.step],
    ['total', told.total, order.total.amount],
    ['paid', told.paid, order.paid?.amount ?? 0],
    ['refunded', told.refunded, order.refunded?.amount ?? 0],
    ['pieces', sorted(told.pieces), sorted(pieces)],
  ];
  for (const [what, story, is] of pairs)
    if (story !== is) faults.push(`${what}: by the history ${story}, by the order ${is}`);
  return faults.map((fault) => `history of ${order.id}: ${fault}`);
}

/** The step that an order was in at an instant, by its history; undefined: it was not there yet, or waited for nothing. */
export function stepAt(history: readonly HistoryEntry[], instant: number): CheckoutStep | undefined {
  return stepOf(
    tell(
      history.filter(({ at }) => Date.parse(at) <= instant),
      () => {},
    ),
  );
}

function tell(history: readonly HistoryEntry[], fault: (entry: HistoryEntry, why: string) => void): Told {
  const told: Told = {
    status: 'none',
    step: undefined,
    asked: false,
    handedOver: false,
    arrived: undefined,
    cancelling: false,
    amendment: undefined,
    total: 0,
    pieces: new Map(),
    paid: 0,
    refunded: 0,
    refunds: new Map(),
    withoutMoney: false,
    problems: new Set(),
  };
  for (const entry of history) {
    const was = stepOf(told) ?? told.status;
    const may = HAPPENS[entry.type];
    if (!may) fault(entry, 'nothing of the kind is known');
    else if (!may(told, entry.details as Details)) fault(entry, `not of an order in ${was}`);
  }
  return told;
}

function stepOf({ problems, step, refunds }: Told): CheckoutStep | undefined {
  if (problems.size > 0) return 'person';
  return step ?? ([...refunds.values()].includes('asked') ? 'refund' : undefined);
}

/** Tells an event on, and says whether it could happen. */
const HAPPENS: Partial<Record<string, (t: Told, d: Details) => boolean>> = {
  OrderPlaced(t, { lines, total }) {
    const could = t.status === 'none';
    Object.assign(t, { status: 'placed', step: 'reserve', total: total?.amount, pieces: piecesOf(lines) });
    return could;
  },
  StockHeld: (t) => passes(t, ['reserve'], { step: 'authorise', asked: true }),
  OrderConfirmed: (t) => passes(t, ['authorise'], { step: 'hand_over', status: 'confirmed' }),
  OrderRejected: (t, { reason }) =>
    passes(t, [reason === 'out_of_stock' ? 'reserve' : 'authorise'], { step: undefined, status: 'rejected' }),
  CancellationRequested(t) {
    t.problems.delete('amend_unanswered');
    return passes(t, ['hand_over', 'amend'], { step: 'cancel', cancelling: true });
  },
  CancellationRefused: (t) => passes(t, ['cancel'], { cancelling: false }) && !t.handedOver,
  OrderCancelled(t) {
    t.problems.delete('cancel_unanswered');
    const step = t.asked ? 'void' : undefined;
    return passes(t, ['reserve', 'authorise', 'cancel'], { step, status: 'cancelled', amendment: undefined });
  },
  PaymentReleased(t) {
    for (const problem of ['void_refused', 'void_unanswered']) t.problems.delete(problem);
    return passes(t, ['void', undefined], { step: undefined }) && t.status === 'cancelled';
  },
  AmendmentRequested: (t, { amendmentId }) =>
    passes(t, ['hand_over'], { step: 'amend', amendment: amendmentId }),
  AmendmentRefused: (t, d) => amendmentEnds(t, d),
  OrderAmended(t, d) {
    const could = t.status === 'placed' ? t.amendment === undefined : amendmentEnds(t, d);
    Object.assign(t, { total: d.total?.amount, pieces: piecesOf(d.lines) });
    return could;
  },
  OrderHandedOver(t) {
    const open = t.amendment !== undefined || t.cancelling;
    return passes(t, ['hand_over', 'amend', 'cancel'], { step: 'capture', handedOver: true }) && !open;
  },
  OrderShipped(t, { paid }) {
    for (const problem of ['capture_refused', 'capture_unanswered']) t.problems.delete(problem);
    const could = (t.step === 'capture' || t.withoutMoney) && paid?.amount === t.total;
    t.paid = paid?.amount ?? 0;
    leaves(t);
    return could;
  },
  OrderDelivered: (t) => arrives(t, 'delivered'),
  OrderLost: (t) => arrives(t, 'lost'),
  RefundRequested(t, { refundId = '', amount }) {
    const could = t.paid >= t.refunded + (amount?.amount ?? 0) && !t.refunds.has(refundId);
    t.refunds.set(refundId, 'asked');
    return could;
  },
  OrderRefunded(t, { refundId = '', amount }) {
    const could = ['asked', 'refused', 'given up'].includes(t.refunds.get(refundId) ?? '');
    t.refunds.set(refundId, 'paid');
    t.refunded += amount?.amount ?? 0;
    t.problems.delete(`refund_refused ${refundId}`);
    t.problems.delete(`refund_unanswered ${refundId}`);
    return could && t.refunded <= t.paid;
  },
  RefundRefused(t, { refundId = '' }) {
    const could = t.refunds.get(refundId) === 'asked';
    t.refunds.set(refundId, 'refused');
    t.problems.delete(`refund_unanswered ${refundId}`);
    return could;
  },
  PersonNeeded(t, d) {
    const could = !t.problems.has(problemOf(d)) && (t.step !== undefined || t.refunds.size > 0);
    t.problems.add(problemOf(d));
    return could;
  },
  OrderSettled(t, d) {
    const could = t.problems.delete(problemOf(d));
    if (d.resolution !== 'try_again') GOES_ON[d.problem ?? '']?.(t, d);
    return could;
  },
};

/** Without an answer, by what a person has decided. */
const GOES_ON: Partial<Record<string, (t: Told, d: Details) => void>> = {
  capture_refused: withoutMoney,
  capture_unanswered: withoutMoney,
  void_refused: (t) => passes(t, ['void'], { step: undefined }),
  void_unanswered: (t) => passes(t, ['void'], { step: undefined }),
  // The amendment stays open: what leaves tells whether it was made.
  amend_unanswered: (t) => passes(t, ['amend'], { step: 'hand_over' }),
  refund_unanswered: (t, { refundId = '' }) => t.refunds.set(refundId, 'given up'),
};

function withoutMoney(t: Told): void {
  t.withoutMoney = true;
  leaves(t);
}

function passes(t: Told, from: readonly (AwaitedStep | undefined)[], to: Partial<Told>): boolean {
  const could = from.includes(t.step);
  Object.assign(t, to);
  return could;
}

function amendmentEnds(t: Told, { amendmentId }: Details): boolean {
  const could = t.amendment !== undefined && t.amendment === amendmentId;
  t.problems.delete('amend_unanswered');
  t.amendment = undefined;
  if (t.step === 'amend') t.step = 'hand_over';
  return could;
}

function leaves(t: Told): void {
  t.status = t.arrived ?? 'shipped';
  t.step = t.arrived ? undefined : 'deliver';
}

/** Word of it may come before that of the payment. */
function arrives(t: Told, how: 'delivered' | 'lost'): boolean {
  const could = ['confirmed', 'shipped'].includes(t.status) && t.arrived === undefined;
  t.problems.delete('deliver_unanswered');
  t.arrived = how;
  if (t.status === 'shipped') leaves(t);
  return could;
}

function problemOf({ problem = '', refundId }: Details): string {
  return refundId === undefined ? problem : `${problem} ${refundId}`;
}

function piecesOf(lines: Details['lines'] = []): Map<string, number> {
  return new Map(lines.map(({ sku, quantity }) => [sku, quantity]));
}

function sorted(pieces: ReadonlyMap<string, number>): string {
  return [...pieces]
    .map(([sku, quantity]) => `${quantity} ${sku}`)
    .sort()
    .join(', ');
}
