import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { onStopSignals } from './stop-signals.ts';

function setUp() {
  const source = new EventEmitter();
  const first = vi.fn();
  const again = vi.fn();
  let time = 1_000;
  onStopSignals({ first, again, source, now: () => time });
  return { first, again, send: (signal: string) => source.emit(signal), later: (ms: number) => (time += ms) };
}

test('one Ctrl-C that arrives from the terminal, npm and the bootstrap is one', () => {
  const { first, again, send, later } = setUp();
  send('SIGINT');
  later(20);
  send('SIGINT');
  later(200);
  send('SIGINT');
  expect(first).toHaveBeenCalledTimes(1);
  expect(again).not.toHaveBeenCalled();
});

test('a second Ctrl-C insists', () => {
  const { first, again, send, later } = setUp();
  send('SIGINT');
  later(1_500);
  send('SIGINT');
  expect(first).toHaveBeenCalledWith('SIGINT');
  expect(again).toHaveBeenCalledTimes(1);
});

test('a closed terminal never insists', () => {
  const { first, again, send, later } = setUp();
  send('SIGHUP');
  later(5_000);
  send('SIGHUP');
  expect(first).toHaveBeenCalledTimes(1);
  expect(again).not.toHaveBeenCalled();
});
