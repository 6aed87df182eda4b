import { expect, onTestFinished, test } from 'vitest';
import type { Choice, FailingMessage } from './failing.ts';
import { createFailingHands } from './failing-hands.ts';
import { pause } from './fixture.ts';

const message = { topic: 'orders' } as FailingMessage;

/** Looks again after a minute, if nothing else happens. */
function open(o: Partial<Parameters<typeof createFailingHands>[0]>) {
  const claimed: Choice[] = [];
  const hands = createFailingHands({
    topics: ['orders'],
    tryAgain: async () => true,
    pollMs: 60_000,
    onError: () => {},
    ...o,
    async claim(topics, choice) {
      claimed.push(choice);
      await pause(1); // as a database takes; without it a hand that never rests would leave nothing to the others
      return o.claim?.(topics, choice);
    },
  });
  hands.start();
  onTestFinished(() => hands.stop());
  return { hands, claimed };
}

test('each of the two hands takes by its own choice, and looks again at once when it is woken', async () => {
  const { hands, claimed } = open({});
  await pause(20);
  expect(claimed.sort()).toEqual(['least tried', 'longest due']);
  hands.wake();
  await pause(20);
  expect(claimed.sort()).toEqual(['least tried', 'least tried', 'longest due', 'longest due']);
});

test('a hand goes on at once when its message has come to an end', async () => {
  let left = 10;
  open({ claim: async () => (left-- > 0 ? message : undefined) });
  await pause(50);
  expect(left).toBe(-2);
});

test('it rests when its message has failed', async () => {
  const { claimed } = open({ claim: async () => message, tryAgain: async () => false });
  await pause(450);
  expect(claimed.length).toBeGreaterThan(2);
  expect(claimed.length).toBeLessThan(13);
});

test('it looks again, though not at once, when it could not look', async () => {
  const errors: unknown[] = [];
  const claim = () => Promise.reject(new Error('away'));
  const { claimed } = open({ claim, pollMs: 50, onError: (err) => errors.push(err) });
  await pause(230);
  expect(claimed.length).toBeGreaterThan(2);
  expect(claimed.length).toBeLessThan(13);
  expect(errors.length).toBeGreaterThan(2);
});

test('its end waits for the tries under way', async () => {
  let ended = 0;
  const tryAgain = async () => {
    await pause(100);
    ended += 1;
    return true;
  };
  const { hands, claimed } = open({ claim: async () => message, tryAgain });
  await pause(20);
  await hands.stop();
  expect([ended, claimed.length]).toEqual([2, 2]);
});

test('topics take turns, from the one behind that whose message was taken last', async () => {
  const asked: string[] = [];
  open({
    topics: ['a', 'b', 'c'],
    async claim(topics, choice) {
      if (choice === 'longest due') asked.push(topics.join(''));
      return asked.length < 4 ? ({ topic: 'b' } as FailingMessage) : undefined;
    },
  });
  await pause(50);
  expect(asked).toEqual(['abc', 'cab', 'cab', 'cab']);
});
