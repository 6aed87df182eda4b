import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createTurns } from './turns.ts';

/** What has a turn, by name, in the order in which they got it. */
function watch() {
  const turns = createTurns();
  const got: string[] = [];
  const take = async (name: string, alone = false, ms = 1000) => {
    const end = await turns.take(alone, ms);
    got.push(name);
    return end;
  };
  return { got, take };
}

test('any number work beside each other', async () => {
  const { got, take } = watch();
  await Promise.all([take('a'), take('b'), take('c')]);
  expect(got).toEqual(['a', 'b', 'c']);
});

test('one alone waits for those before it, and those behind it wait for it', async () => {
  const { got, take } = watch();
  const [endA, endB] = [await take('a'), await take('b')];
  const alone = take('alone', true);
  const c = take('c');
  await sleep(10);
  expect(got).toEqual(['a', 'b']);
  endA();
  endA(); // once is enough
  await sleep(10);
  expect(got).toEqual(['a', 'b']);
  endB();
  const endAlone = await alone;
  await sleep(10);
  expect(got).toEqual(['a', 'b', 'alone']);
  endAlone();
  await c;
  expect(got).toEqual(['a', 'b', 'alone', 'c']);
});

test('who waits for too long has no turn, and is in nobody’s way', async () => {
  const { got, take } = watch();
  const end = await take('a');
  await expect(take('alone', true, 20)).rejects.toThrow('Waited 20 ms for its turn');
  await take('b');
  end();
  await take('c');
  expect(got).toEqual(['a', 'b', 'c']);
});
