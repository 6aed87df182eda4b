import { duplicateLines, type StockLine } from '@sidecart/contracts/common';
import { addMoney, type Money, multiplyMoney } from '@sidecart/contracts/money';
import { DomainError, refuse } from '@sidecart/kit/domain-error';

// What an order's lines come to, and what may be taken off them.

export interface OrderLine {
  sku: string;
  quantity: number;
  /** What the customer agreed to. */
  unitPrice: Money;
  /** Pieces whose money was given back, or is being. */
  refunded: number;
  /** Pieces whose money could not be given back: a person sees to it, or has. */
  settled: number;
  /** Pieces of those that came back. */
  restocked: number;
}

export function totalOf(lines: readonly Pick<OrderLine, 'quantity' | 'unitPrice'>[]): Money {
  return addMoney(lines.map((line) => multiplyMoney(line.unitPrice, line.quantity)));
}

export function stockLines(lines: readonly StockLine[]): StockLine[] {
  return lines.map(({ sku, quantity }) => ({ sku, quantity }));
}

/**
 * The lines with these smaller quantities; without those that come to 0.
 *
 * @throws DomainError for a product that is not on the order, for more pieces than there are, and when nothing would be left.
 */
export function amended(lines: readonly OrderLine[], changes: readonly StockLine[]): OrderLine[] {
  refuseUnknownLines(lines, changes);
  const wanted = new Map(changes.map(({ sku, quantity }) => [sku, quantity]));
  const errors = changes.flatMap(({ sku, quantity }, index) => {
    const now = lines.find((line) => line.sku === sku)?.quantity ?? 0;
    return quantity > now
      ? [
          {
            pointer: `/lines/${index}/quantity`,
            code: 'amend_only_less',
            detail: `There are ${now} of ${sku}`,
            current: now,
          },
        ]
      : [];
  });
  refuse('refused', errors);
  const left = lines
    .map((line) => ({ ...line, quantity: wanted.get(line.sku) ?? line.quantity }))
    .filter(({ quantity }) => quantity > 0);
  if (left.length === 0) throw new DomainError('refused', 'amend_leaves_nothing');
  return left;
}

/** The pieces by which `after` is less than `before`. */
export function piecesGone(before: readonly StockLine[], after: readonly StockLine[]): StockLine[] {
  return before.flatMap(({ sku, quantity }) => {
    const left = after.find((line) => line.sku === sku)?.quantity ?? 0;
    return quantity > left ? [{ sku, quantity: quantity - left }] : [];
  });
}

/** The same pieces of the same products, in any order. */
export function samePieces(a: readonly StockLine[], b: readonly StockLine[]): boolean {
  return a.length === b.length && piecesGone(a, b).length === 0 && piecesGone(b, a).length === 0;
}

/**
 * What a refund of these pieces comes to; without `wanted` of all that are left.
 *
 * @throws DomainError when there are not so many to give the money back for.
 */
export function refundOf(
  lines: readonly OrderLine[],
  wanted: readonly StockLine[] | undefined,
): { lines: StockLine[]; amount: Money } {
  const left = lines.map((line) => ({ ...line, quantity: line.quantity - line.refunded - line.settled }));
  if (wanted) refuseUnknownLines(lines, wanted);
  const errors = (wanted ?? []).flatMap(({ sku, quantity }, index) => {
    const now = left.find((line) => line.sku === sku)?.quantity ?? 0;
    return quantity > now
      ? [
          {
            pointer: `/lines/${index}/quantity`,
            code: 'refund_too_much',
            detail: `${now} of ${sku} are not paid back`,
            current: now,
          },
        ]
      : [];
  });
  refuse('conflict', errors);
  const chosen = (wanted ?? left).filter(({ quantity }) => quantity > 0);
  if (chosen.length === 0) throw new DomainError('conflict', 'nothing_to_refund');
  const priced = chosen.map(({ sku, quantity }) => ({
    sku,
    quantity,
    unitPrice: priceOf(lines, sku),
  }));
  return { lines: stockLines(priced), amount: totalOf(priced) };
}

/** The lines with these pieces added to some of their counts, or taken off. */
export function counted(
  lines: readonly OrderLine[],
  pieces: readonly StockLine[],
  signs: { refunded?: 1 | -1; settled?: 1 | -1; restocked?: 1 | 0 },
): OrderLine[] {
  return lines.map((line) => {
    const n = pieces.find(({ sku }) => sku === line.sku)?.quantity ?? 0;
    return {
      ...line,
      refunded: line.refunded + n * (signs.refunded ?? 0),
      settled: line.settled + n * (signs.settled ?? 0),
      restocked: line.restocked + n * (signs.restocked ?? 0),
    };
  });
}

/** None of a product that is not there is what there is: an amendment that took a line off may come again. */
function refuseUnknownLines(lines: readonly OrderLine[], named: readonly StockLine[]): void {
  refuse('invalid', duplicateLines(named));
  const errors = named.flatMap(({ sku, quantity }, index) =>
    quantity === 0 || lines.some((line) => line.sku === sku)
      ? []
      : [{ pointer: `/lines/${index}/sku`, code: 'not_on_order', detail: `${sku} is not on this order` }],
  );
  refuse('refused', errors);
}

function priceOf(lines: readonly OrderLine[], sku: string): Money {
  const line = lines.find((candidate) => candidate.sku === sku);
  if (!line) throw new Error(`${sku} is not on the order`);
  return line.unitPrice;
}
