import { gbp } from '@sidecart/contracts/money';
import { expect, test } from 'vitest';
import * as reservation from '../services/inventory/src/reservation.ts';
import { checkOrders, EVERYTHING } from '../services/orders/src/fixture-happenings.ts';
import type {
  Inventory,
  Neighbours,
  Payments,
  Say,
  Shipping,
} from '../services/orders/src/fixture-neighbours.ts';
import * as payment from '../services/payments/src/payment.ts';
import * as shipment from '../services/shipping/src/shipment.ts';
import { seed, times } from './seed.ts';

// The whole checkout by the real rules of all four services, without databases and brokers: what services/orders/src/checkout-model.test.ts
// does among models of its neighbours. Any command that one of them would make a dead letter of fails the test.

/** How many orders there are. */
const runs = times('RUNS', 2000);

const orderId = 'ord_1';
const at = '2026-03-14T09:26:53.589Z';

function inventory(onHand: Map<string, number>, say: Say): Inventory {
  let state = reservation.initialState();
  const held = new Map<string, number>();

  function run(command: reservation.ReservationCommand): void {
    for (const event of reservation.decide(command, state, (sku) => onHand.get(sku) ?? 0)) {
      state = reservation.evolve(state, event);
      if (event.type === 'StockRejected') say({ type: 'NoteStockRejected', short: event.short });
      if (event.type === 'StockReserved') say({ type: 'NoteStockReserved' });
      const sign = { StockReserved: 1, StockReleased: -1 }[event.type as string] ?? 0;
      for (const { sku, quantity } of 'lines' in event ? event.lines : []) {
        held.set(sku, (held.get(sku) ?? 0) + sign * quantity);
        onHand.set(sku, (onHand.get(sku) ?? 0) - sign * quantity);
      }
    }
  }

  return {
    take({ type, data }) {
      if (type === 'ReserveStock') run({ type: 'Reserve', orderId, lines: data.lines });
      if (type === 'ReleaseStock') run({ type: 'Release', orderId, part: data.part });
      if (type === 'OrderConfirmed') run({ type: 'Commit', orderId });
    },
    onHand,
    held,
    isReserved: () => state.status === 'reserved',
  };
}

function payments(say: Say): Payments {
  let state = payment.initialState();

  function run(command: payment.PaymentCommand): void {
    for (const event of payment.decide(command, state)) {
      state = payment.evolve(state, event);
      switch (event.type) {
        case 'PaymentAuthorised':
        case 'PaymentCaptured':
          say({ type: `Note${event.type}`, paymentId: 'pay_1', amount: gbp(event.amount) });
          break;
        case 'PaymentDeclined':
          say({ type: 'NotePaymentDeclined', reason: event.reason });
          break;
        case 'PaymentVoided':
          say({ type: 'NotePaymentVoided' });
          break;
        case 'PaymentRefunded':
          say({ type: 'NotePaymentRefunded', refundId: event.refundId, amount: gbp(event.amount) });
          break;
        case 'CaptureRefused':
        case 'VoidRefused':
          say({ type: `Note${event.type}`, reason: event.reason });
          break;
        case 'RefundRefused':
          say({ type: 'NoteRefundRefused', refundId: event.operation.refundId ?? '', reason: event.reason });
          break;
      }
    }
  }

  return {
    take({ type, data }) {
      if (type === 'AuthorisePayment')
        run({ type: 'Authorise', amount: data.amount.amount, token: data.token });
      if (type === 'CapturePayment') run({ type: 'Capture', amount: data.amount.amount });
      if (type === 'VoidPayment') run({ type: 'Void' });
      if (type === 'RefundPayment')
        run({ type: 'Refund', refundId: data.refund_id, amount: data.amount.amount });
    },
    provider(pick, outcome) {
      const pending = state.operations.filter((operation) => operation.state === 'pending');
      const operation = pending[pick % Math.max(1, pending.length)];
      if (!operation) return false;
      run({
        type: 'Settle',
        operation,
        outcome:
          outcome === 'done'
            ? { state: 'succeeded', authorisationId: 'a' }
            : { state: 'refused', reason: 'no' },
      });
      return true;
    },
    book: () => state,
    isHeld: () => ['authorising', 'authorised', 'capturing', 'voiding'].includes(state.status),
  };
}

function shipping(say: Say): Shipping {
  let state = shipment.initialState();

  function run(command: shipment.ShipmentCommand): void {
    for (const event of shipment.decide(command, state)) {
      state = shipment.evolve(state, event);
      if (event.type === 'ShipmentAmended')
        say({ type: 'NoteShipmentAmended', amendmentId: event.amendmentId });
      if (event.type === 'ShipmentCancelled') say({ type: 'NoteShipmentCancelled' });
      if (event.type === 'ShipmentHandedOver') {
        const { shipmentId, lines, carrier } = event;
        say({ type: 'NoteShipmentHandedOver', shipmentId, lines, carrier });
      }
      if (event.type === 'ShipmentDelivered') say({ type: 'NoteShipmentDelivered' });
      if (event.type === 'ShipmentLost') say({ type: 'NoteShipmentLost', reason: event.reason });
    }
  }

  return {
    take({ type, data }) {
      if (type === 'CreateShipment')
        run({ type: 'Create', orderId, shipmentId: 'shp_1', lines: data.lines, at });
      if (type === 'AmendShipment')
        run({ type: 'Amend', orderId, amendmentId: data.amendment_id, lines: data.lines, at });
      if (type === 'CancelShipment') run({ type: 'Cancel', orderId, at });
    },
    handOver() {
      if (state.status !== 'preparing') return;
      if (shipment.leftToPack(state.lines, state.packages).length > 0)
        run({ type: 'Pack', packageId: 'pkg_1', at });
      run({ type: 'HandOver', carrier: 'post', at });
    },
    stop: () => run({ type: 'Cancel', orderId, at }),
    arrive(how) {
      if (state.status !== 'handed_over') return;
      run(how === 'lost' ? { type: 'Lose', reason: 'fell off', at } : { type: 'Deliver', at });
    },
    left: () => (['handed_over', 'delivered', 'lost'].includes(state.status) ? state.lines : []),
  };
}

const neighbours: Neighbours = (onHand, say) => ({
  inventory: inventory(onHand, say),
  payments: payments(say),
  shipping: shipping(say),
});

test('by the rules of all four services, whatever happens to an order: it ends, and their books agree', {
  timeout: 600_000,
}, () => {
  const done = checkOrders({ seed, runs, neighbours });
  if (runs >= 2000) expect(done).toEqual(EVERYTHING);
});

test('control: without the void the rules do not let it end', () => {
  expect(() => checkOrders({ seed, runs: 500, neighbours, without: 'void' })).toThrow('at its end');
});
