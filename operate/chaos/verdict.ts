import type { Stock } from '@sidecart/contracts/inventory';
import { sameMoney } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import Table from 'cli-table3';
import { formatPence } from '../../clients/text.ts';

/** What was asked for, and what there is afterwards. */
export interface Evidence {
  /** How many orders were to be placed. */
  wanted: number;
  /** As they were accepted, each read again at its end. */
  orders: readonly Order[];
  payments: readonly Payment[];
  stock: { before: Stock; after: Stock };
  /** Ids of those that wait, by service. */
  deadLetters: { before: DeadLetterIds; after: DeadLetterIds };
}
export type DeadLetterIds = ReadonlyMap<string, readonly string[]>;

export interface Check {
  what: string;
  expected: string;
  found: string;
  /** In words; none when all is as expected. */
  faults: string[];
}

export function checksOf(evidence: Evidence): Check[] {
  return [
    placed(evidence),
    confirmed(evidence),
    pieces(evidence),
    payments(evidence),
    ...deadLetters(evidence),
  ];
}

/** Two keys that got one order are one order too few. */
function placed({ wanted, orders }: Evidence): Check {
  const found = new Set(orders.map(({ id }) => id)).size;
  const faults = found === wanted ? [] : [`${wanted} orders were wanted, and there are ${found}`];
  return { what: 'orders placed', expected: String(wanted), found: String(found), faults };
}

function confirmed({ wanted, orders }: Evidence): Check {
  const others = orders.filter(({ status }) => status !== 'confirmed');
  return {
    what: 'orders confirmed',
    expected: String(wanted),
    found: String(orders.length - others.length),
    faults: others.map(
      ({ id, status, rejection }) => `order ${id} is ${status}${rejection ? ` (${rejection.reason})` : ''}`,
    ),
  };
}

/** An order that was placed twice shows here too: it has pieces that no answer told of. */
function pieces({ orders, stock: { before, after } }: Evidence): Check {
  const expected = orders.flatMap(({ lines }) => lines).reduce((sum, { quantity }) => sum + quantity, 0);
  const found = after.reserved + after.committed - before.reserved - before.committed;
  return {
    what: 'pieces set aside or committed',
    expected: String(expected),
    found: String(found),
    faults:
      found === expected
        ? []
        : [`${found} pieces of ${after.sku} were set aside or committed, ${expected} ordered`],
  };
}

function payments({ orders, payments: all }: Evidence): Check {
  const byOrder = Map.groupBy(all, ({ order_id }) => order_id);
  const faults = orders.map((order) => paymentFaults(order, byOrder.get(order.id) ?? []));
  return {
    what: 'orders whose total is authorised once',
    expected: String(orders.length),
    found: String(faults.filter((its) => its.length === 0).length),
    faults: faults.flat(),
  };
}

function paymentFaults({ id, total }: Order, [payment, ...more]: readonly Payment[]): string[] {
  const fault = (text: string) => [`order ${id}: ${text}`];
  if (!payment) return fault('no payment');
  if (more.length > 0) return fault(`${more.length + 1} payments`);
  const { status, authorised, operations } = payment;
  if (status !== 'authorised') return fault(`its payment is ${status}`);
  const times = operations.filter(({ kind }) => kind === 'authorise').length;
  if (times !== 1) return fault(`authorised ${times} times`);
  if (sameMoney(authorised, total)) return [];
  return fault(`${formatPence(authorised.amount)} authorised, its total is ${formatPence(total.amount)}`);
}

/** By their ids: somebody may settle an old one meanwhile. */
function deadLetters({ deadLetters: { before, after } }: Evidence): Check[] {
  return [...after].map(([service, ids]) => {
    const known = before.get(service) ?? [];
    const added = ids.filter((id) => !known.includes(id));
    return {
      what: `dead letters of ${service}`,
      expected: known.length === 0 ? 'none' : `none but the ${known.length} of before`,
      found: ids.length === 0 ? 'none' : `${ids.length}, ${added.length} new`,
      faults: added.map((id) => `${service} has a new dead letter: npm run dlq -- show ${service}/${id}`),
    };
  });
}

export function tableOf(checks: readonly Check[]): string {
  const table = new Table({
    head: ['', 'expected', 'found', ''],
    style: { head: [], border: [], compact: true },
  });
  for (const { what, expected, found, faults } of checks)
    table.push([what, expected, found, faults.length === 0 ? 'as expected' : 'WRONG']);
  return table.toString();
}
