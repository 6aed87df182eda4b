import { DomainError } from '@sidecart/kit/domain-error';
import { describe, expect, test } from 'vitest';
import {
  decide,
  evolve,
  initialState,
  type ReservationCommand,
  type ReservationEvent,
} from './reservation.ts';

const orderId = 'ord_1';
const lines = [
  { sku: 'HEART', quantity: 3 },
  { sku: 'LANTERN', quantity: 2 },
];
const reserve: ReservationCommand = { type: 'Reserve', orderId, lines };
const commit: ReservationCommand = { type: 'Commit', orderId };
const release: ReservationCommand = { type: 'Release', orderId };

const reserved: ReservationEvent = { type: 'StockReserved', orderId, lines };
const rejected: ReservationEvent = {
  type: 'StockRejected',
  orderId,
  short: [{ sku: 'HEART', requested: 3, available: 1 }],
};
const committed: ReservationEvent = { type: 'StockCommitted', orderId, lines };
const released: ReservationEvent = { type: 'StockReleased', orderId, from: 'reserved', lines };
const releasedAhead: ReservationEvent = { type: 'StockReleased', orderId, from: 'reserved', lines: [] };

const plenty = { HEART: 10, LANTERN: 10 };

function given(...events: ReservationEvent[]) {
  const state = events.reduce(evolve, initialState());
  return {
    when(command: ReservationCommand, onHand: Record<string, number> = plenty) {
      const run = () => decide(command, state, (sku) => onHand[sku] ?? 0);
      return {
        thenEvents: (...expected: ReservationEvent[]) => expect(run()).toEqual(expected),
        thenRefused(code: string) {
          expect(run).toThrowError(DomainError);
          expect(run).toThrowError(code);
        },
      };
    },
  };
}

describe('reserving', () => {
  test('sets every line aside', () => {
    given().when(reserve).thenEvents(reserved);
  });

  test('the last units are enough', () => {
    given().when(reserve, { HEART: 3, LANTERN: 2 }).thenEvents(reserved);
  });

  test('one short line rejects all, naming the line with what is there', () => {
    given().when(reserve, { HEART: 1, LANTERN: 10 }).thenEvents(rejected);
  });

  test('every short line is named', () => {
    given()
      .when(reserve, { HEART: 2 })
      .thenEvents({
        type: 'StockRejected',
        orderId,
        short: [
          { sku: 'HEART', requested: 3, available: 2 },
          { sku: 'LANTERN', requested: 2, available: 0 },
        ],
      });
  });

  test('again changes nothing, whatever was decided', () => {
    given(reserved).when(reserve).thenEvents();
    given(rejected).when(reserve).thenEvents();
    given(reserved, committed).when(reserve).thenEvents();
    given(reserved, released).when(reserve).thenEvents();
  });

  test('after a release that overtook it sets nothing aside', () => {
    given(releasedAhead).when(reserve).thenEvents();
  });

  test('one product twice is refused: it would be checked twice against the same pieces', () => {
    const twice = [
      { sku: 'HEART', quantity: 6 },
      { sku: 'HEART', quantity: 6 },
    ];
    given()
      .when({ ...reserve, lines: twice })
      .thenRefused('duplicate_line');
  });
});

describe('committing', () => {
  test('gives what is set aside to the order', () => {
    given(reserved).when(commit).thenEvents(committed);
  });

  test('again changes nothing', () => {
    given(reserved, committed).when(commit).thenEvents();
  });

  test('after a release changes nothing', () => {
    given(reserved, released).when(commit).thenEvents();
    given(releasedAhead).when(commit).thenEvents();
  });

  test('what was never set aside is a contradiction', () => {
    given().when(commit).thenRefused('confirmed_without_reservation');
    given(rejected).when(commit).thenRefused('confirmed_without_reservation');
  });
});

describe('releasing', () => {
  test('puts back what is set aside', () => {
    given(reserved).when(release).thenEvents(released);
  });

  test('puts back what is committed', () => {
    given(reserved, committed)
      .when(release)
      .thenEvents({ type: 'StockReleased', orderId, from: 'committed', lines });
  });

  test('ahead of its reservation is remembered', () => {
    given().when(release).thenEvents(releasedAhead);
  });

  test('again, or after a rejection, changes nothing', () => {
    given(reserved, released).when(release).thenEvents();
    given(rejected).when(release).thenEvents();
  });
});
