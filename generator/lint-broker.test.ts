import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadBroker, parseBroker } from './broker.ts';
import * as fixture from './fixture.ts';
import { keepingFaults, lintBroker } from './lint-broker.ts';

const day = 86_400_000_000_000; // in nanoseconds, as JetStream has it
const BROKER = `${fixture.BROKER}max_age: ${7 * day}\n`;

/** The faults of the template with one part of it changed. */
function broken(from: string, to: string): string[] {
  const text = BROKER.replace(from, to);
  expect(text, 'the change changed nothing').not.toBe(BROKER);
  return lintBroker(parseBroker('jetstream', text));
}

test('control: a template that fits is without a fault', () => {
  expect(lintBroker(parseBroker('jetstream', BROKER))).toEqual([]);
  expect(broken('deliver: 3s', 'deliver: 2501ms')).toEqual([]);
  expect(broken(`${7 * day}`, `${8 * day - 1}`)).toEqual([]);
});

test('the templates of this project are without a fault', () => {
  for (const name of ['jetstream', 'redis']) expect(lintBroker(loadBroker('.', name))).toEqual([]);
});

test('streams of Redis that end at another age than their component says', () => {
  const text = readFileSync('components/brokers/redis.yaml', 'utf8');
  const faults = (from: string, to: string) => lintBroker(parseBroker('redis', text.replace(from, to)));
  expect(faults('value: 168h', 'value: 24h')).toEqual([
    expect.stringMatching(/streamTTL \(24h\) is not max_age_ms/),
  ]);
  expect(faults('max_age_ms: 604800000', 'max_age_ms: 0')).toEqual([
    expect.stringMatching(/above 0 and below the 8 days/),
    expect.stringMatching(/streamTTL \(168h\)/),
  ]);
});

test('sent messages that are kept as long as an inbox remembers, or longer', () => {
  expect(keepingFaults(7, 8)).toEqual([]);
  expect(keepingFaults(8, 8)).toEqual([expect.stringMatching(/must be below the 8 days .* Lower SENT_DAYS/)]);
});

test('a broker without streams of its own has no age to look at', () => {
  const text = `${fixture.BROKER.split('---\n').slice(0, 2).join('---\n')}---\n# Nothing.\n`;
  expect(lintBroker(parseBroker('other', text))).toEqual([]);
});

test.each([
  ['a sidecar that gives up when the app does', 'deliver: 3s', 'deliver: 2500ms', /above 2500 ms/],
  ['a sidecar that gives up before the app', 'deliver: 3s', 'deliver: 2s', /above 2500 ms/],
  ['a sidecar without a deadline', 'timeout: deliver', 'timeout: delivr', /the timeout delivr/],
  ['messages as old as the inbox', `${7 * day}`, `${8 * day}`, /below the 8 days/],
  ['messages that are kept for ever', `${7 * day}`, '0', /above 0/],
  ['messages without an age', `max_age: ${7 * day}`, '', /max_age/],
])('%s', (_, from, to, expected) => {
  expect(broken(from, to)).toEqual([expect.stringMatching(expected)]);
});
