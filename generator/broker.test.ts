import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { brokerOutputs, loadBroker, parseBroker } from './broker.ts';
import { BROKER, topology } from './fixture.ts';

const outputs = brokerOutputs(topology, parseBroker('jetstream', BROKER));
const content = (path: string) => outputs.find((output) => output.path === path)?.content ?? '';
const metadata = (path: string) =>
  Object.fromEntries(
    parse(content(path)).spec.metadata.map(({ name, value }: { name: string; value: string }) => [
      name,
      value,
    ]),
  );

test('the owner may publish, the reader may read, and both may probe', () => {
  expect(metadata('components/pubsub-books.yaml')).toMatchObject({
    allowedTopics: 'books,probe',
    protectedTopics: 'books,probe',
    publishingScopes: 'books=books,probe;readers=probe',
    subscriptionScopes: 'books=;readers=books',
  });
});

test('only the first lane is for publishing', () => {
  expect(metadata('components/pubsub-commands-books-0.yaml').publishingScopes).toBe(
    'readers=commands.books,probe;books=probe',
  );
  expect(metadata('components/pubsub-commands-books-1.yaml').publishingScopes).toBe('books=probe');
});

test('the lanes of a topic share one durable consumer', () => {
  const durables = [0, 1].map(
    (lane) => metadata(`components/pubsub-commands-books-${lane}.yaml`).durableName,
  );
  expect(durables).toEqual(['{appID}-commands-books', '{appID}-commands-books']);
});

test('there is a stream for each topic, and a durable consumer for each app that reads it', () => {
  const settings = { ack_wait: 20e9, max_deliver: -1 };
  expect(parse(content('components/brokers/jetstream-streams.generated.yaml'))).toEqual({
    streams: [
      { name: 'books', subjects: ['books'] },
      { name: 'commands-books', subjects: ['commands.books'] },
    ],
    consumers: [
      { app: 'readers', topic: 'books', stream: 'books', name: 'readers-books', settings },
      {
        app: 'books',
        topic: 'commands.books',
        stream: 'commands-books',
        name: 'books-commands-books',
        settings,
      },
    ],
  });
});

test('on Redis a stream is called as its topic, and nothing is asked of its consumer groups', () => {
  const redis = brokerOutputs(topology, loadBroker('.', 'redis'));
  const generated = redis.find(({ path }) => path === 'components/brokers/redis-streams.generated.yaml');
  const week = 7 * 86_400_000;
  expect(parse(generated?.content ?? '')).toEqual({
    streams: [
      { name: 'books', max_age_ms: week },
      { name: 'commands.books', max_age_ms: week },
    ],
    consumers: [
      { app: 'readers', topic: 'books', stream: 'books', name: 'readers-books', settings: {} },
      {
        app: 'books',
        topic: 'commands.books',
        stream: 'commands.books',
        name: 'books-commands-books',
        settings: {},
      },
    ],
  });
});

test('every broker has the same components for the same apps and topics', () => {
  const shapes = ['jetstream', 'redis'].map((name) =>
    brokerOutputs(topology, loadBroker('.', name))
      .filter(({ path }) => path.startsWith('components/pubsub-'))
      .map(({ path, content }) => {
        const { spec, scopes } = parse(content);
        const grants = spec.metadata.filter((entry: { name: string }) => /Scopes|Topics/.test(entry.name));
        return { path, scopes, grants };
      }),
  );
  expect(shapes[0]).toHaveLength(3);
  expect(shapes[1]).toEqual(shapes[0]);
});

test('a broker on which nothing has to be made has no streams', () => {
  const bare = parseBroker('other', BROKER.replace(/(---\n)name: [^-]*$/, '$1# Nothing.\n'));
  const generated = brokerOutputs(topology, bare).find(({ path }) =>
    path.endsWith('other-streams.generated.yaml'),
  );
  expect(parse(generated?.content ?? '')).toMatchObject({
    streams: [],
    consumers: [{ name: 'readers-books', stream: 'books' }, { name: 'books-commands-books' }],
  });
});

test('a patience of the broker that is no duration is refused', () => {
  const broker = parseBroker('jetstream', BROKER.replace('20s', '20'));
  expect(() => brokerOutputs(topology, broker)).toThrow(/part 1: ackWait 20 is no duration/);
});

test('what explains the template is not repeated in each component', () => {
  expect(content('components/pubsub-books.yaml')).not.toContain('What a reader should know');
});

test('a name that the generator does not know is refused, with those it knows', () => {
  const broker = parseBroker('jetstream', BROKER.replace('{{component}}', '{{comonent}}'));
  expect(() => brokerOutputs(topology, broker)).toThrow(
    /{{comonent}} is not known.*component, stream, topic/,
  );
});

test('a template that is no YAML is refused with its line in the file, whichever part it is in', () => {
  const text = readFileSync('components/brokers/jetstream.yaml', 'utf8');
  const lineOf = (words: string) => text.slice(0, text.indexOf(words)).split('\n').length;
  for (const words of ['spec:\n', 'target:\n', 'retention: limits\n']) {
    const line = lineOf(words);
    const broken = text.replace(words, words.replace(':', ''));
    expect(() => parseBroker('jetstream', broken), words).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(
          new RegExp(`^components/brokers/jetstream.yaml, line (${line}|${line + 1}): no valid YAML`),
        ),
        cure: expect.stringContaining('then npm run generate'),
      }),
    );
  }
});

test('a template without its three parts is refused', () => {
  expect(() => parseBroker('jetstream', BROKER.split('---\n')[0] ?? '')).toThrow(/1 part\(s\), where three/);
  expect(() => parseBroker('jetstream', BROKER.replace('spec:', 'specs:'))).toThrow(/part 1/);
  expect(() => parseBroker('jetstream', BROKER.replace('target:', 'targets:'))).toThrow(/part 2/);
});

test('a broker of which there is no template is told, with those that there are', () => {
  expect(() => loadBroker('.', 'jetstraem')).toThrow(
    expect.objectContaining({
      message: 'topology.yaml, broker: there is no components/brokers/jetstraem.yaml',
      cure: expect.stringContaining('jetstream, redis'),
    }),
  );
});
