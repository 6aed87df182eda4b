import { compareText, createCatalogueBuilder } from '../retail/catalogue.ts';
import { type FaultyLine, isFaulty, type SaleLine } from '../retail/sale-line.ts';
import { createMatcher, type Matcher, type TakenBack } from './cancellations.ts';

/** What a replay does about each invoice, in date order. Made from the file alone, without the shop. */
export interface Plan {
  steps: Step[];
  /** What the orders need, each with its name and its first price. */
  products: PlannedProduct[];
  /** What became of the lines of these invoices; each is counted once. */
  lines: LineCounts;
  /** Lines without a readable invoice number, in the whole file. */
  withoutInvoice: number;
}

export type Step =
  | OrderStep
  | ({ kind: 'cancellation'; invoice: string } & TakenBack)
  | { kind: 'unmatched'; invoice: string }
  | { kind: 'skipped'; invoice: string; rule: string };

export interface OrderStep {
  kind: 'order';
  invoice: string;
  customer: string | undefined;
  lines: OrderedLine[];
  /** Whether it leaves the warehouse: it does, unless it is cancelled on its day. */
  leaves: boolean;
}

/** The price is that of one piece, in pence. */
export interface OrderedLine {
  sku: string;
  quantity: number;
  price: number;
}

export interface PlannedProduct {
  sku: string;
  name: string;
  price: number;
  /** The day of its first order, YYYY-MM-DD. */
  since: string;
}

export interface LineCounts {
  /** Before lines of the same code and price were merged. */
  ordered: number;
  cancelling: number;
  onSkippedInvoices: number;
  /** Of orders and cancellations, by the first reason. */
  leftOut: Map<string, number>;
}

type Line = SaleLine | FaultyLine;

interface Invoice {
  number: string;
  /** The earliest time on its lines; later than any other when none of them has one. */
  at: string;
  customer: string | undefined;
  lines: Line[];
}

/** The shop's bounds for one order. */
const MOST_LINES = 500;
const MOST_PIECES = 100_000;

/**
 * Plans the first `limit` invoices by earliest time on the invoice, then invoice number. The order of `lines` does
 * not matter. Every invoice becomes exactly one step:
 *
 * - Number starting with C: a cancellation of the earlier orders that its lines match, in whole or in part, or else `unmatched`.
 * - Any other: an order of its lines, those of the same code and price merged into one. It is skipped when it has only
 *   negative quantities (a stock correction), when no line can be ordered, when it has one code at two prices (an
 *   order names a product once), or when it is beyond the shop's bounds.
 */
export function planReplay(lines: Iterable<Line>, limit = Number.POSITIVE_INFINITY): Plan {
  const { invoices, names, withoutInvoice } = gather(lines);
  const steps = planSteps(invoices).slice(0, limit);
  const counts: LineCounts = { ordered: 0, cancelling: 0, onSkippedInvoices: 0, leftOut: new Map() };
  const products = new Map<string, PlannedProduct>();
  for (const [i, step] of steps.entries()) {
    const invoice = invoices[i] as Invoice;
    countLines(counts, invoice, step);
    if (step.kind !== 'order') continue;
    for (const { sku, price } of step.lines) {
      if (products.has(sku)) continue;
      products.set(sku, { sku, name: names.get(sku) ?? sku, price, since: dayOf(invoice) });
    }
  }
  return { steps, products: [...products.values()], lines: counts, withoutInvoice };
}

/** Of all invoices, also of a few: what leaves on its day must not depend on how many are taken. */
function planSteps(invoices: readonly Invoice[]): Step[] {
  const matcher = createMatcher();
  const orders = new Map<string, OrderStep>();
  return invoices.map((invoice) => {
    if (isCancellation(invoice)) {
      const step = planCancellation(invoice, matcher);
      if (step.kind !== 'cancellation') return step;
      for (const number of step.cancels) {
        const order = orders.get(number);
        if (order) order.leaves = false;
      }
      return step;
    }
    const step = planOrder(invoice);
    if (step.kind !== 'order') return step;
    orders.set(invoice.number, step);
    matcher.remember(step, dayOf(invoice));
    return step;
  });
}

function gather(lines: Iterable<Line>) {
  const byNumber = new Map<string, Line[]>();
  const catalogue = createCatalogueBuilder();
  let withoutInvoice = 0;
  for (const line of lines) {
    if (!isFaulty(line) && line.quantity > 0) catalogue.add(line);
    if (line.invoice === undefined) {
      withoutInvoice++;
      continue;
    }
    const known = byNumber.get(line.invoice);
    if (known) known.push(line);
    else byNumber.set(line.invoice, [line]);
  }
  const invoices = [...byNumber].map(([number, itsLines]) => toInvoice(number, itsLines));
  invoices.sort((a, b) => compareText(a.at, b.at) || compareText(a.number, b.number));
  return { invoices, names: new Map(catalogue.products().map((p) => [p.sku, p.name])), withoutInvoice };
}

function toInvoice(number: string, unsorted: Line[]): Invoice {
  const lines = unsorted.toSorted((a, b) => a.line - b.line);
  const times = lines.flatMap((line) => line.soldAt ?? []).sort(compareText);
  const customer = lines.find((line) => line.customer !== undefined)?.customer;
  return { number, at: times[0] ?? '9999', customer, lines };
}

function dayOf(invoice: Invoice): string {
  return invoice.at.slice(0, 10);
}

function isCancellation(invoice: Invoice): boolean {
  return invoice.number.startsWith('C');
}

function planCancellation(invoice: Invoice, matcher: Matcher): Step {
  const lines = merge(usableLines(invoice)).map((line) => ({ ...line, quantity: -line.quantity }));
  const taken = matcher.match(invoice.customer, lines, dayOf(invoice));
  return taken.cancels.length > 0 || taken.refunds.length > 0
    ? { kind: 'cancellation', invoice: invoice.number, ...taken }
    : { kind: 'unmatched', invoice: invoice.number };
}

function planOrder(invoice: Invoice): Step {
  const skip = (rule: string): Step => ({ kind: 'skipped', invoice: invoice.number, rule });
  if (invoice.lines.every((line) => line.quantity !== undefined && line.quantity < 0))
    return skip('only negative quantities');
  const usable = usableLines(invoice);
  if (usable.length === 0) return skip(`no line to order: ${commonReason(invoice)}`);
  const lines = merge(usable);
  if (new Set(lines.map((line) => line.sku)).size < lines.length) return skip('one code at two prices');
  if (lines.length > MOST_LINES) return skip(`more than ${MOST_LINES} lines`);
  if (lines.some((line) => line.quantity > MOST_PIECES))
    return skip(`more than ${MOST_PIECES} of one product`);
  return { kind: 'order', invoice: invoice.number, customer: invoice.customer, lines, leaves: true };
}

/** The lines that name goods, a quantity in the invoice's direction and a price. */
function usableLines(invoice: Invoice): SaleLine[] {
  return invoice.lines.filter(
    (line): line is SaleLine => leftOutReason(line, isCancellation(invoice)) === undefined,
  );
}

function leftOutReason(line: Line, onCancellation: boolean): string | undefined {
  if (isFaulty(line)) return line.faults[0];
  if (onCancellation && line.quantity > 0) return 'positive quantity on a cancellation';
  if (!onCancellation && line.quantity < 0) return 'negative quantity on a sale';
  return undefined;
}

/** What all lines of an invoice lack, if it is one thing. */
function commonReason(invoice: Invoice): string {
  const reasons = invoice.lines.map((line) => (isFaulty(line) ? line.faults : [leftOutReason(line, false)]));
  const shared = reasons[0]?.find((reason) => reasons.every((others) => others.includes(reason)));
  return shared ?? 'various reasons';
}

function merge(lines: readonly SaleLine[]): OrderedLine[] {
  const merged = new Map<string, OrderedLine>();
  for (const { sku, price, quantity } of lines) {
    const key = `${sku} ${price}`;
    merged.set(key, { sku, price, quantity: (merged.get(key)?.quantity ?? 0) + quantity });
  }
  return [...merged.values()];
}

function countLines(counts: LineCounts, invoice: Invoice, step: Step): void {
  if (step.kind === 'skipped') {
    counts.onSkippedInvoices += invoice.lines.length;
    return;
  }
  for (const line of invoice.lines) {
    const reason = leftOutReason(line, isCancellation(invoice));
    if (reason !== undefined) counts.leftOut.set(reason, (counts.leftOut.get(reason) ?? 0) + 1);
    else if (step.kind === 'order') counts.ordered++;
    else counts.cancelling++;
  }
}
