import { expect, test } from 'vitest';
import { loadBroker } from './broker.ts';
import { daprOutputs } from './dapr-outputs.ts';
import { topology } from './fixture.ts';
import { lintFiles } from './lint.ts';

const files = daprOutputs(topology, loadBroker('.', 'redis')).filter(
  ({ path }) => !path.startsWith('components/brokers/'),
);

/** The faults of the generated files with one of them changed. */
function broken(path: string, from: string | RegExp, to: string): string {
  const changed = files.map((file) =>
    file.path === path ? { path, content: file.content.replace(from, to) } : file,
  );
  expect(changed, 'the change changed nothing').not.toEqual(files);
  return lintFiles(changed, topology).join('\n');
}

const FACTS = 'components/pubsub-books.yaml';
const RESILIENCY = 'dapr/readers/resiliency.yaml';
const without = (name: string) => new RegExp(` +- name: ${name}\\n.*\\n`);
const value = (name: string) => new RegExp(`(name: ${name}\\n +value: ).*`);

test('control: what the generator makes for Redis is without a fault', () => {
  expect(lintFiles(files, topology)).toEqual([]);
});

test.each([
  ['no consumer group', FACTS, without('consumerID'), '', /consumerID is missing/],
  ['no concurrency', FACTS, without('concurrency'), '', /concurrency is missing/],
  ['no queue depth', FACTS, without('queueDepth'), '', /queueDepth is missing/],
  ['no processing timeout', FACTS, without('processingTimeout'), '', /processingTimeout is missing/],
  ['no interval', FACTS, without('redeliverInterval'), '', /redeliverInterval is missing/],
  ['reads without an end', FACTS, without('readTimeout'), '', /readTimeout is missing/],
  ['streams without an end', FACTS, without('streamTTL'), '', /streamTTL is missing/],
  ['no second delivery', FACTS, value('processingTimeout'), '$1"0"', /processingTimeout is 0: 0 switches/],
  ['a bare number', FACTS, value('processingTimeout'), '$1"15"', /processingTimeout is 15: .*milliseconds/],
  [
    'an interval with a unit',
    FACTS,
    value('redeliverInterval'),
    '$115s',
    /redeliverInterval is 15s: .*over it/,
  ],
  ['no look at all', FACTS, value('redeliverInterval'), '$1"0"', /redeliverInterval is 0: 0 switches/],
  [
    'streams of a length',
    FACTS,
    /( +)- name: streamTTL/,
    '$1- name: maxLenApprox\n$1  value: "1000"\n$1- name: streamTTL',
    /a burst would drop what nobody has read/,
  ],
  [
    'a server that is not verified',
    FACTS,
    /( +)- name: streamTTL/,
    '$1- name: insecureSkipTLSVerify\n$1  value: "true"\n$1- name: streamTTL',
    /to whoever answers/,
  ],
  [
    'more failing messages than workers',
    FACTS,
    value('queueDepth'),
    '$1"24"',
    /may take all workers, 144000 ms of work .* in every 120000 ms/,
  ],
  [
    'a password in plain text',
    FACTS,
    /(name: redisPassword\n +)secretKeyRef.*/,
    '$1value: word',
    /secret in plain text/,
  ],

  ['no retry', RESILIENCY, /\n +retry: deliver/, '', /has no retry at a constant interval.*lost/],
  [
    'a retry at growing intervals',
    RESILIENCY,
    /policy: constant\n +duration: 1s/,
    'policy: exponential',
    /has no retry at a constant interval/,
  ],
  [
    'a retry that ends too soon',
    RESILIENCY,
    'maxRetries: 6',
    'maxRetries: 5',
    /may fail after 5000 ms.*lost/,
  ],
  [
    'a longer wait of the component',
    FACTS,
    value('processingTimeout'),
    '$16s',
    /before processingTimeout \(6000/,
  ],
  [
    'a retry after some answers only',
    RESILIENCY,
    'httpStatusCodes: 100-599',
    'httpStatusCodes: 429,500-599',
    /not repeated after an answer of 300.*lost/,
  ],
  [
    'a retry without one answer',
    RESILIENCY,
    'httpStatusCodes: 100-599',
    'httpStatusCodes: 100-400, 402-599',
    /not repeated after an answer of 401/,
  ],
])('%s', (_, path, from, to, expected) => {
  expect(broken(path, from, to)).toMatch(expected);
});

test('only what is never delivered may be left out of the answers to repeat after', () => {
  expect(broken(RESILIENCY, 'httpStatusCodes: 100-599', 'httpStatusCodes: 300-403,405-599')).toBe('');
});
