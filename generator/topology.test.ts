import { describe, expect, test } from 'vitest';
import { TABLE, topology } from './fixture.ts';
import { parseTopology, TopologyError } from './topology.ts';

describe('what follows from the table', () => {
  test('a fact topic is named after its owner, a command queue after its taker', () => {
    const [facts, commands] = topology.topics;
    expect(facts).toMatchObject({
      name: 'books',
      stream: 'books',
      publishers: ['books'],
      consumers: ['readers'],
    });
    expect(commands).toMatchObject({
      name: 'commands.books',
      stream: 'commands-books',
      publishers: ['readers'],
      consumers: ['books'],
    });
  });

  test('one lane is one component; of several, only the first is loaded by those who only publish', () => {
    const [facts, commands] = topology.topics;
    expect(facts?.components).toEqual([{ name: 'pubsub-books', scopes: ['books', 'readers'] }]);
    expect(commands?.components).toEqual([
      { name: 'pubsub-commands-books-0', scopes: ['readers', 'books'] },
      { name: 'pubsub-commands-books-1', scopes: ['books'] },
    ]);
  });

  test('the edge calls every public operation, and what it invokes itself', () => {
    const calls = topology.calls.filter(({ caller }) => caller === 'edge');
    expect(calls.map(({ callee, timeoutMs, forwarded }) => [callee, timeoutMs, forwarded])).toEqual([
      ['books', 3000, true],
      ['books', 500, false],
    ]);
  });
});

describe('faults', () => {
  const faults = (from: string | RegExp, to: string): string[] => {
    const text = TABLE.replace(from, to);
    expect(text).not.toBe(TABLE);
    try {
      parseTopology(text);
    } catch (error) {
      if (error instanceof TopologyError) return error.faults;
      throw error;
    }
    return [];
  };

  test.each([
    [
      'an unknown service is consumed',
      'consumes: [books]',
      'consumes: [boks]',
      /consumes\.0: There is no service boks/,
    ],
    [
      'a service without a topic is consumed',
      'consumes: [books]',
      'consumes: [edge]',
      /edge publishes nothing/,
    ],
    [
      'a service reads its own facts',
      'commands: { lanes: 2 }',
      'consumes: [books]',
      /does not read its own facts/,
    ],
    ['a service is consumed twice', 'consumes: [books]', 'consumes: [books, books]', /listed twice/],
    ['commands go to one that takes none', 'sends: [books]', 'sends: [edge]', /edge takes no commands/],
    [
      'an unknown service is invoked',
      /books:\n {8}timeout: 1s/,
      'boks:\n        timeout: 1s',
      /invokes\.boks: There is no service boks/,
    ],
    [
      'the edge is invoked',
      /books:\n {8}timeout: 1s/,
      'edge:\n        timeout: 1s',
      /called by clients only/,
    ],
    ['two services share a port', 'port: 8102', 'port: 8101', /8101 is already the port of books/],
    ['a port could be taken by a connection', 'port: 8102', 'port: 40000', /readers\.port/],
    ['there is no edge', /^ +edge: true\n/m, '', /0 services are marked as the edge/],
    ['there are two edges', 'port: 8102', 'port: 8102\n    edge: true', /2 services are marked as the edge/],
    [
      'messages without a database',
      /database: true\n {4}replicas: 1\n {4}consumes/,
      'database: false\n    replicas: 1\n    consumes',
      /Set `database: true`/,
    ],
    ['an unknown field', 'sends: [books]', 'send: [books]', /send is not known here/],
    ['a timeout is no duration', 'timeout: 1s', 'timeout: 1 second', /Write a duration such as 800ms/],
    [
      'an operation has no version',
      '- GET /v1/books\n',
      '- GET /books\n',
      /a verb, then a path that starts with its version/,
    ],
    ['the verb is lower case', '- GET /v1/books\n', '- get /v1/books\n', /a verb, then a path/],
    [
      'a route is public twice',
      '- POST /v1/books\n',
      '- GET /v1/books\n',
      /is already a public operation of books/,
    ],
    ['a name is reserved', 'readers:', 'probe:', /Choose another name/],
    ['a name is that of the topic of messages to oneself', 'readers:', 'self:', /Choose another name/],
    ['a name is upper case', 'readers:', 'Readers:', /lower-case letters/],
    ['it is no YAML', 'namespace: shop', 'namespace: [shop', /no valid YAML/],
  ])('%s', (_, from, to, expected) => {
    expect(faults(from, to).join('\n')).toMatch(expected);
  });

  test('all of them are listed, each with its line', () => {
    const found = faults(/consumes: \[books\]\n {4}sends: \[books\]/, 'consumes: [boks]\n    sends: [boks]');
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^line 30: services\.readers\.consumes\.0/);
    expect(found[1]).toMatch(/^line 31: /);
  });
});
