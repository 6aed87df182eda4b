import { expect, test } from 'vitest';
import { createLedger, type Ledger, type Message } from './ledger.ts';

const message = (n: number, key = 'a', seq = n + 1): Message => ({ n, key, seq, filler: '' });

function filled(ordered: boolean, messages: Message[]): Ledger {
  const ledger = createLedger({ ordered });
  ledger.begun(messages);
  ledger.committed(messages, 10);
  return ledger;
}

test('every message once and in order is no fault', () => {
  const ledger = filled(true, [message(0), message(1), message(2, 'b', 1)]);
  for (const one of [message(0), message(2, 'b', 1), message(1)]) ledger.handled(one, 15);
  expect(ledger.verdict(0)).toEqual([]);
  expect(ledger.outstanding()).toBe(0);
  expect(ledger.latencies(0, 100)).toEqual([5, 5, 5]);
  expect(ledger.latencies(11, 100)).toEqual([]);
  expect([ledger.handledBetween(15, 16), ledger.handledBetween(0, 15)]).toEqual([3, 0]);
});

test('what is committed is handled or still waiting, nothing else', () => {
  const ledger = filled(false, [message(0), message(1), message(2)]);
  ledger.handled(message(0), 15);
  expect([ledger.unhandled(10, 11), ledger.unhandled(11, 100), ledger.unhandled(0, 10)]).toEqual([2, 0, 0]);
  expect(ledger.verdict(2)).toEqual([]);
  expect(ledger.verdict(0)).toEqual(['2 messages lost']);
  expect(ledger.verdict(3)).toEqual(['1 messages handled and still waiting']);
});

test('a second effect, an effect of a rolled back transaction and one of no message are faults', () => {
  const ledger = filled(false, [message(0), message(1)]);
  const undone = [message(2)];
  ledger.begun(undone);
  ledger.rolledBack(undone);
  for (const n of [0, 0, 1]) ledger.handled(message(n), 20);
  expect(ledger.verdict(0)).toEqual(['1 messages with more than one effect']);
  ledger.handled(message(2), 20);
  expect(ledger.verdict(0)).toContain('1 messages of a transaction that was rolled back');
  ledger.handled(message(7), 20);
  expect(ledger.verdict(0)).toContain('1 messages that nobody wrote');
});

test('a transaction without an end is a fault', () => {
  const ledger = createLedger({ ordered: false });
  ledger.begun([message(0)]);
  ledger.handled(message(0), 20);
  expect(ledger.verdict(0)).toContain('1 messages of which nobody knows whether they were committed');
});

test('order is asked for per key, and only where the cell asks', () => {
  const messages = [message(0), message(1), message(2)];
  const shuffled = [message(1), message(0), message(2)];
  const ordered = filled(true, messages);
  for (const one of shuffled) ordered.handled(one, 15);
  expect(ordered.verdict(0)).toEqual(['2 messages out of the order of their key']);
  const unordered = filled(false, messages);
  for (const one of shuffled) unordered.handled(one, 15);
  expect(unordered.verdict(0)).toEqual([]);
});

test('who waits for room goes on when there is some, or when it is over', async () => {
  const ledger = createLedger({ ordered: false });
  const stop = new AbortController();
  ledger.begun([message(0), message(1)]);
  const went: string[] = [];
  const room = ledger.below(2, stop.signal).then(() => went.push('room'));
  const over = ledger.below(1, stop.signal).then(() => went.push('over'));
  ledger.handled(message(0), 20);
  await room;
  expect(went).toEqual(['room']);
  stop.abort();
  await over;
  expect(went).toEqual(['room', 'over']);
});

test('the longest pause is between two effects, or an effect and a bound', () => {
  const ledger = filled(false, [message(0), message(1), message(2)]);
  ledger.handled(message(1), 30);
  ledger.handled(message(0), 18);
  ledger.handled(message(2), 50);
  expect(ledger.longestPause(10, 60)).toBe(20);
  expect(ledger.longestPause(10, 45)).toBe(15);
  expect(ledger.longestPause(100, 160)).toBe(60);
});
