import { expect, test } from 'vitest';
import { createTurns } from './turns.ts';

test('a key is one writer at a time, in the order of asking; other keys do not wait', async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const first = await turns.take(['a', 'b', 'a']);
  const second = turns.take(['b', 'c']).then((done) => {
    seen.push('second');
    done();
  });
  const third = turns.take(['c']).then((done) => {
    seen.push('third');
    done();
  });
  (await turns.take(['d']))();
  expect(seen).toEqual([]);
  first();
  await Promise.all([second, third]);
  expect(seen).toEqual(['second', 'third']);
});
