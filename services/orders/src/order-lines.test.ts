import { gbp } from '@sidecart/contracts/money';
import { DomainError } from '@sidecart/kit/domain-error';
import { describe, expect, test } from 'vitest';
import { LINES, orderLine, PIECES } from './fixture-histories.ts';
import { amended, counted, piecesGone, refundOf, samePieces, totalOf } from './order-lines.ts';

/** The code of what is thrown, its kind, and the places at fault. */
function refusal(work: () => unknown) {
  try {
    work();
  } catch (err) {
    if (err instanceof DomainError)
      return [
        err.code,
        err.kind,
        err.errors?.map(({ pointer, current }) => `${pointer} ${current ?? ''}`.trim()),
      ];
    throw err;
  }
  throw new Error('Expected a DomainError');
}

const hearts = (quantity: number) => [{ sku: 'HEART', quantity }];

test('a total is that of all pieces', () => {
  expect(totalOf(LINES)).toEqual(gbp(2765));
  expect(totalOf([])).toEqual(gbp(0));
});

describe('an amendment', () => {
  test('leaves the lines that it does not name', () => {
    expect(amended(LINES, hearts(1))).toEqual([orderLine('HEART', 1, 255), orderLine('LANTERN', 2, 1000)]);
  });

  test('to none takes the line off', () => {
    expect(amended(LINES, hearts(0))).toEqual([orderLine('LANTERN', 2, 1000)]);
  });

  test('to none of what is not there changes nothing: it may have been taken off before', () => {
    expect(amended(LINES, [{ sku: 'ROSE', quantity: 0 }])).toEqual(LINES);
  });

  test('to as many as there are changes nothing', () => {
    expect(amended(LINES, hearts(3))).toEqual(LINES);
  });

  test('to more is refused, with what there is', () => {
    expect(refusal(() => amended(LINES, hearts(4)))).toEqual([
      'amend_only_less',
      'refused',
      ['/lines/0/quantity 3'],
    ]);
  });

  test('to nothing is refused', () => {
    expect(refusal(() => amended([orderLine('HEART', 3, 255)], hearts(0)))).toEqual([
      'amend_leaves_nothing',
      'refused',
      undefined,
    ]);
  });

  test('of what is not on the order, or twice of the same, is refused', () => {
    const rose = [...hearts(1), { sku: 'ROSE', quantity: 1 }];
    expect(refusal(() => amended(LINES, rose))).toEqual(['not_on_order', 'refused', ['/lines/1/sku']]);
    expect(refusal(() => amended(LINES, [...hearts(1), ...hearts(2)]))).toEqual([
      'duplicate_line',
      'invalid',
      ['/lines/1/sku'],
    ]);
  });
});

test('pieces that are gone: fewer of a line, and lines that are off', () => {
  expect(piecesGone(PIECES, hearts(1))).toEqual([
    { sku: 'HEART', quantity: 2 },
    { sku: 'LANTERN', quantity: 2 },
  ]);
  expect(piecesGone(PIECES, PIECES)).toEqual([]);
  expect(piecesGone(hearts(1), PIECES)).toEqual([]);
});

test('the same pieces are the same in any order, and no others', () => {
  expect(samePieces(PIECES, PIECES.toReversed())).toBe(true);
  expect(samePieces(PIECES, hearts(3))).toBe(false);
  expect(samePieces(hearts(3), PIECES)).toBe(false);
  expect(samePieces(hearts(3), hearts(2))).toBe(false);
  expect(samePieces(hearts(3), [{ sku: 'heart', quantity: 3 }])).toBe(false);
});

describe('a refund', () => {
  const some = [
    orderLine('HEART', 3, 255, { refunded: 1, settled: 1 }),
    orderLine('LANTERN', 2, 1000, { refunded: 2 }),
  ];

  test('of some pieces comes to their prices', () => {
    expect(refundOf(LINES, hearts(2))).toEqual({ lines: hearts(2), amount: gbp(510) });
  });

  test('of all that is left leaves out what is paid back and what a person has seen to', () => {
    expect(refundOf(some, undefined)).toEqual({ lines: hearts(1), amount: gbp(255) });
  });

  test('of more than is left is refused, with what is left', () => {
    expect(refusal(() => refundOf(some, hearts(2)))).toEqual([
      'refund_too_much',
      'conflict',
      ['/lines/0/quantity 1'],
    ]);
  });

  test('of nothing that is left is refused', () => {
    const all = [orderLine('HEART', 3, 255, { refunded: 2, settled: 1 })];
    expect(refusal(() => refundOf(all, undefined))[0]).toBe('nothing_to_refund');
  });

  test('of what is not on the order, or twice of the same, is refused', () => {
    expect(refusal(() => refundOf(LINES, [{ sku: 'ROSE', quantity: 1 }]))[0]).toBe('not_on_order');
    expect(refusal(() => refundOf(LINES, [...hearts(1), ...hearts(1)]))[0]).toBe('duplicate_line');
  });
});

test('pieces are counted where they belong, and taken off again', () => {
  const once = counted(LINES, hearts(2), { refunded: 1, restocked: 1 });
  expect(once).toEqual([
    orderLine('HEART', 3, 255, { refunded: 2, restocked: 2 }),
    orderLine('LANTERN', 2, 1000),
  ]);
  expect(counted(once, hearts(2), { refunded: -1, settled: 1 })[0]).toEqual(
    orderLine('HEART', 3, 255, { settled: 2, restocked: 2 }),
  );
});
