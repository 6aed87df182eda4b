import { expect, test } from 'vitest';
import { askOfSlots } from './slot-session.ts';

const canceled = Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' });

test('slots are asked about together, and one by one only where that takes too long', async () => {
  const asked: (readonly number[])[] = [];
  const ask = (most: number) => async (slots: readonly number[]) => {
    asked.push(slots);
    if (slots.length > most) throw canceled;
    return slots.map((slot) => slot * 10);
  };
  expect(await askOfSlots([1, 2, 3], ask(3))).toEqual([10, 20, 30]);
  expect(asked.splice(0)).toEqual([[1, 2, 3]]);
  expect(await askOfSlots([1, 2, 3], ask(1))).toEqual([10, 20, 30]);
  expect(asked.splice(0)).toEqual([[1, 2, 3], [1], [2], [3]]);
  await expect(askOfSlots([1, 2], ask(0))).rejects.toThrow(canceled);
});

test('another failure is not asked about again', async () => {
  let asked = 0;
  const ask = async () => {
    asked += 1;
    throw new Error('gone');
  };
  await expect(askOfSlots([1, 2], ask)).rejects.toThrow('gone');
  expect(asked).toBe(1);
});
