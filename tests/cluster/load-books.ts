import type { Movement } from '../../provider/books.ts';

/** What every order of the load costs, in pence: one piece. */
export const LOAD_PRICE = 250;

/** What the others than orders have of some orders; the provider of all. */
export interface Books {
  ledger: readonly Pick<Movement, 'key' | 'kind' | 'amount'>[];
  payments: readonly {
    order_id: string;
    status: string;
    authorised: number;
    captured: number;
    refunded: number;
  }[];
  shipments: readonly { order_id: string; status: string }[];
}

/** By how an order ended, what there has to be of it: a line for each movement of money, for its payment and for its shipment. */
const DUE: Record<string, (id: string) => string[]> = {
  rejected: () => [],
  confirmed: (id) => [
    `money ${id}.authorise authorised ${LOAD_PRICE}`,
    `payment of ${id} authorised: held ${LOAD_PRICE}, taken 0, given back 0`,
    `shipment of ${id} preparing`,
  ],
  shipped: (id) => [
    `money ${id}.authorise authorised ${LOAD_PRICE}`,
    `money ${id}.capture captured ${LOAD_PRICE}`,
    `payment of ${id} captured: held ${LOAD_PRICE}, taken ${LOAD_PRICE}, given back 0`,
    `shipment of ${id} handed_over`,
  ],
};

/** What is missing of orders, and what is there that should not be: in words, each as often as it is so. */
export function bookFaults(
  ends: ReadonlyMap<string, string>,
  { ledger, payments, shipments }: Books,
): string[] {
  const due = [...ends].flatMap(([id, end]) => DUE[end]?.(id) ?? [`an end of ${id} that is none: ${end}`]);
  const there = [
    ...ledger
      .filter(({ key }) => ends.has(key.split('.')[0] ?? ''))
      .map(({ key, kind, amount }) => `money ${key} ${kind} ${amount}`),
    ...payments.map(
      (p) =>
        `payment of ${p.order_id} ${p.status}: held ${p.authorised}, taken ${p.captured}, given back ${p.refunded}`,
    ),
    ...shipments.map(({ order_id, status }) => `shipment of ${order_id} ${status}`),
  ];
  return [
    ...without(due, there).map((line) => `missing: ${line}`),
    ...without(there, due).map((line) => `not due: ${line}`),
  ];
}

/** The lines of one list that are left when those of another are taken out, each once. */
function without(lines: readonly string[], others: readonly string[]): string[] {
  const count = new Map<string, number>();
  for (const line of others) count.set(line, (count.get(line) ?? 0) + 1);
  return lines.filter((line) => {
    const left = count.get(line) ?? 0;
    count.set(line, left - 1);
    return left <= 0;
  });
}
