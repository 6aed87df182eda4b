import { DomainError } from '@sidecart/kit/domain-error';
import { describe, expect, test } from 'vitest';
import {
  decide,
  evolve,
  initialState,
  type OrderCommand,
  type OrderEvent,
  type PlaceOrder,
  type Quote,
} from './order.ts';

const at = '2026-03-14T09:26:53.589Z';
const later = '2026-03-14T09:27:00.000Z';
const gbp = (amount: number) => ({ amount, currency: 'GBP' as const });
const line = (sku: string, quantity: number, amount: number) => ({ sku, quantity, unitPrice: gbp(amount) });
const quote = (sku: string, amount: number, status: Quote['status'] = 'active'): Quote => ({
  sku,
  status,
  unitPrice: gbp(amount),
});
const short = [{ sku: 'HEART', requested: 3, available: 1 }];

const place: PlaceOrder = {
  type: 'PlaceOrder',
  orderId: 'ord_1',
  actor: 'anonymous',
  customerId: '17850',
  lines: [line('HEART', 3, 255), line('LANTERN', 2, 1000)],
  quotes: [quote('HEART', 255), quote('LANTERN', 1000)],
  at,
};
const subject = { orderId: 'ord_1', customerId: '17850' };
const placed: OrderEvent = {
  type: 'OrderPlaced',
  ...subject,
  actor: 'anonymous',
  lines: place.lines,
  total: gbp(2765),
  at,
};
const confirmed: OrderEvent = { type: 'OrderConfirmed', ...subject, at };
const rejected: OrderEvent = { type: 'OrderRejected', ...subject, short, at };
const cancelled: OrderEvent = { type: 'OrderCancelled', ...subject, reason: 'too late', at };

const confirm: OrderCommand = { type: 'ConfirmOrder', at: later };
const reject: OrderCommand = { type: 'RejectOrder', short, at: later };
const cancel: OrderCommand = { type: 'CancelOrder', reason: 'wrong size', at: later };
const cancelOverdue: OrderCommand = { type: 'CancelOverdueOrder', at: later };

function given(...events: OrderEvent[]) {
  const state = events.reduce(evolve, initialState());
  return {
    when(command: OrderCommand) {
      return {
        thenEvents: (...expected: OrderEvent[]) => expect(decide(command, state)).toEqual(expected),
        thenRefused(code: string, pointers: string[] = []) {
          const err = refusal(() => decide(command, state));
          expect(err.code).toBe(code);
          expect(err.errors?.map((fault) => `${fault.pointer} ${fault.code}`) ?? []).toEqual(pointers);
          return err;
        },
      };
    },
  };
}

function refusal(work: () => unknown): DomainError {
  try {
    work();
  } catch (err) {
    if (err instanceof DomainError) return err;
    throw err;
  }
  throw new Error('Expected a DomainError');
}

describe('placing', () => {
  test('an order at the current prices places it, with its total', () => {
    given().when(place).thenEvents(placed);
  });

  test('without a customer is fine', () => {
    const { customerId: _, ...anonymous } = place;
    const [event] = decide(anonymous, initialState());
    expect(event).toMatchObject({ type: 'OrderPlaced', customerId: undefined });
  });

  test('at a price that has changed is refused with the current one', () => {
    const command = { ...place, quotes: [quote('HEART', 295), quote('LANTERN', 1000)] };
    const err = given().when(command).thenRefused('price_changed', ['/lines/0/unit_price price_changed']);
    expect(err.kind).toBe('conflict');
    expect(err.errors?.[0]?.current).toEqual(gbp(295));
  });

  test('a cheaper price is a changed one too: the customer decides', () => {
    const command = { ...place, quotes: [quote('HEART', 255), quote('LANTERN', 999)] };
    given().when(command).thenRefused('price_changed', ['/lines/1/unit_price price_changed']);
  });

  test('an unknown product is refused', () => {
    given()
      .when({ ...place, quotes: [quote('HEART', 255)] })
      .thenRefused('unknown_product', ['/lines/1/sku unknown_product']);
  });

  test('a retired product is refused', () => {
    const command = { ...place, quotes: [quote('HEART', 255, 'retired'), quote('LANTERN', 1000)] };
    given().when(command).thenRefused('product_retired', ['/lines/0/sku product_retired']);
  });

  test('an order with several faults names every line, under the gravest code', () => {
    const command = {
      ...place,
      lines: [line('HEART', 1, 1), line('GONE', 1, 5), line('NOTHING', 1, 5)],
      quotes: [quote('HEART', 255), quote('GONE', 5, 'retired')],
    };
    given()
      .when(command)
      .thenRefused('unknown_product', [
        '/lines/0/unit_price price_changed',
        '/lines/1/sku product_retired',
        '/lines/2/sku unknown_product',
      ]);
  });

  test('a product on two lines is refused', () => {
    const command = { ...place, lines: [line('HEART', 1, 255), line('HEART', 2, 255)] };
    given().when(command).thenRefused('duplicate_line', ['/lines/1/sku duplicate_line']);
  });

  test('SKUs that differ by case are two products', () => {
    const command = {
      ...place,
      lines: [line('15056bl', 1, 100), line('15056BL', 1, 200)],
      quotes: [quote('15056bl', 100), quote('15056BL', 200)],
    };
    expect(decide(command, initialState())).toMatchObject([{ total: gbp(300) }]);
  });

  test('an id twice is refused', () => {
    given(placed).when(place).thenRefused('order_exists');
  });

  test('the largest order that the contracts allow is counted exactly', () => {
    const lines = Array.from({ length: 500 }, (_, i) => line(`S${i}`, 100_000, 100_000_000));
    const quotes = lines.map(({ sku }) => quote(sku, 100_000_000));
    const [event] = decide({ ...place, lines, quotes }, initialState());
    expect(event).toMatchObject({ total: gbp(5_000_000_000_000_000) });
  });
});

describe('when stock is set aside', () => {
  test('a placed order is confirmed', () => {
    given(placed)
      .when(confirm)
      .thenEvents({ type: 'OrderConfirmed', ...subject, at: later });
  });

  test('a confirmed order stays as it is', () => {
    given(placed, confirmed).when(confirm).thenEvents();
  });

  test('a cancelled order stays cancelled: the answer came too late', () => {
    given(placed, cancelled).when(confirm).thenEvents();
  });

  test('a rejected order is a contradiction', () => {
    given(placed, rejected).when(confirm).thenRefused('order_already_decided');
  });

  test('an order that nobody placed is not found', () => {
    given().when(confirm).thenRefused('not_found');
  });
});

describe('when stock does not suffice', () => {
  test('a placed order is rejected, naming the lines at fault', () => {
    given(placed)
      .when(reject)
      .thenEvents({ type: 'OrderRejected', ...subject, short, at: later });
  });

  test('a rejected order stays as it is', () => {
    given(placed, rejected).when(reject).thenEvents();
  });

  test('a cancelled order stays cancelled: the answer came too late', () => {
    given(placed, cancelled).when(reject).thenEvents();
  });

  test('a confirmed order is a contradiction', () => {
    given(placed, confirmed).when(reject).thenRefused('order_already_decided');
  });

  test('an order that nobody placed is not found', () => {
    given().when(reject).thenRefused('not_found');
  });
});

describe('cancelling', () => {
  test('a placed order', () => {
    given(placed)
      .when(cancel)
      .thenEvents({ type: 'OrderCancelled', ...subject, reason: 'wrong size', at: later });
  });

  test('a confirmed order', () => {
    given(placed, confirmed)
      .when(cancel)
      .thenEvents({ type: 'OrderCancelled', ...subject, reason: 'wrong size', at: later });
  });

  test('a cancelled order changes nothing', () => {
    given(placed, cancelled).when(cancel).thenEvents();
  });

  test('a rejected order is refused', () => {
    const err = given(placed, rejected).when(cancel).thenRefused('order_not_cancellable');
    expect(err.kind).toBe('conflict');
  });

  test('an order that nobody placed is not found', () => {
    const err = given().when(cancel).thenRefused('not_found');
    expect(err.kind).toBe('not-found');
  });
});

describe('when the time for an answer is over', () => {
  const overdue: OrderEvent = {
    type: 'OrderCancelled',
    ...subject,
    reason: 'no stock was set aside in time',
    at: later,
  };

  test('an order that is still placed is cancelled', () => {
    given(placed).when(cancelOverdue).thenEvents(overdue);
  });

  test.each([
    ['confirmed', confirmed],
    ['rejected', rejected],
    ['cancelled', cancelled],
  ])('a %s order stays as it is', (_, decided) => {
    given(placed, decided).when(cancelOverdue).thenEvents();
  });

  test('twice changes nothing', () => {
    given(placed, overdue).when(cancelOverdue).thenEvents();
  });

  test('what inventory answers afterwards is ignored, and the customer who cancels too is told no other reason', () => {
    for (const late of [confirm, reject, cancel]) given(placed, overdue).when(late).thenEvents();
  });

  test('an order that nobody placed is not found', () => {
    given().when(cancelOverdue).thenRefused('not_found');
  });
});

test('an event of a kind that this version does not know leaves the state as it is', () => {
  const state = evolve(initialState(), placed);
  expect(evolve(state, { type: 'OrderShipped' } as unknown as OrderEvent)).toBe(state);
});
