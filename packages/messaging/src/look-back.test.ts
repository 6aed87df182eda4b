import { expect, test } from 'vitest';
import { createLookBack } from './look-back.ts';

const at = (...ids: number[]) => new Map(ids.map((id, slot) => [slot, BigInt(id)]));

test('looks back to where each slot was three ticks ago, if it has moved since', () => {
  const back = createLookBack();
  expect(back.tick(at(10, 5))).toEqual(at());
  expect(back.tick(at(20, 5))).toEqual(at(10));
  expect(back.tick(at(30, 5))).toEqual(at(10));
  expect(back.tick(at(40, 5))).toEqual(at(10));
  expect(back.tick(at(50, 5))).toEqual(at(20));
});

test('never forward: a slot that was read from its start is behind its mark', () => {
  const back = createLookBack();
  for (const id of [100, 200, 300]) back.tick(at(id));
  expect(back.tick(at(0))).toEqual(at());
});
