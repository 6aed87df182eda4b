import { expect, test } from 'vitest';
import { rotated } from './rounds.ts';

test('each arm is at each place of the order once in as many rounds as there are arms', () => {
  const arms = ['a', 'b', 'c'];
  const rounds = [0, 1, 2].map((round) => rotated(arms, round));
  for (const place of [0, 1, 2]) expect(rounds.map((order) => order[place]).sort()).toEqual(arms);
});
