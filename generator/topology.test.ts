import { describe, expect, test } from 'vitest';
import { TABLE, topology } from './fixture.ts';
import { renderServiceTopology } from './service-topology.ts';
import { EXTERNAL_PAUSE_MS, parseTopology, patienceWith, secretsOf, TopologyError } from './topology.ts';

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

describe('an HTTP API of others', () => {
  test('has its users, its time, and the operation that it calls back', () => {
    expect(topology.externals).toEqual([
      {
        name: 'library',
        users: ['books'],
        timeoutMs: 2000,
        retries: 1,
        secret: ['api_key', 'webhook_secret'],
        baseUrl: 'http://library:8190',
        webhooks: {
          service: 'books',
          operation: { method: 'POST', path: '/v1/books/returns' },
          headers: ['webhook-id', 'webhook-signature'],
        },
        simulatorPort: 8190,
      },
    ]);
  });

  test('is waited for as long as the sidecar tries, and some', () => {
    const [library] = topology.externals;
    expect(library && patienceWith(library)).toBe(2 * 2000 + EXTERNAL_PAUSE_MS + 500);
  });

  test('gives its users a Secret beside that of their database, and nobody else', () => {
    expect(secretsOf('books', topology)).toEqual(['books-db', 'books-library']);
    expect(secretsOf('readers', topology)).toEqual(['readers-db']);
    expect(secretsOf('edge', topology)).toEqual([]);
  });

  test('has the headers of its signature let through for its one operation', () => {
    const text = renderServiceTopology(topology);
    const routes = JSON.parse(/PUBLIC_ROUTES = (\[[\s\S]*?\n\]) as const/.exec(text)?.[1] ?? '[]') as {
      path: string;
      headers?: string[];
    }[];
    expect(routes.filter(({ headers }) => headers).map(({ path, headers }) => [path, headers])).toEqual([
      ['/v1/books/returns', ['webhook-id', 'webhook-signature']],
    ]);
  });

  test('with an address of its own needs no simulator', () => {
    const text = TABLE.replace('simulator: { port: 8190 }', 'url: https://api.example.com/v2');
    const [library] = parseTopology(text).externals;
    expect(library).toMatchObject({ baseUrl: 'https://api.example.com/v2' });
    expect(library).not.toHaveProperty('simulatorPort');
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
    ['an unknown field', 'sends: [books]', 'send: [books]', /: services\.\w+\.send: send is not known here/],
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
    ['an API outside is called by nobody there is', 'used_by: [books]', 'used_by: [boks]', /no service boks/],
    ['it is called by one twice', 'used_by: [books]', 'used_by: [books, books]', /listed twice/],
    [
      'its secret is for one that reads none',
      'used_by: [books]',
      'used_by: [edge]',
      /Only a service with a database can read Secrets/,
    ],
    [
      'its simulator would have to know two secrets',
      'used_by: [books]',
      'used_by: [books, readers]',
      /knows the secret of one service/,
    ],
    [
      'it calls back what nobody offers',
      'operation: POST /v1/books/returns',
      'operation: POST /v1/books/gone',
      /external\.library\.webhooks\.operation: POST \/v1\/books\/gone is no public operation of books/,
    ],
    ['it is nowhere', '    simulator: { port: 8190 }\n', '', /either a `url` or a `simulator`/],
    [
      'it is in two places',
      'simulator: { port: 8190 }',
      'simulator: { port: 8190 }\n    url: https://api.example.com',
      /either a `url` or a `simulator`/,
    ],
    [
      'its address is not safe',
      'simulator: { port: 8190 }',
      'url: http://api.example.com',
      /Write an address such as https/,
    ],
    ['its simulator takes a port', 'port: 8190', 'port: 8102', /8102 is already the port of readers/],
    ['it has the name of a service', 'library:', 'readers:', /readers is already a service/],
    ['it is repeated for ever', 'retries: 1', 'retries: 50', /external\.library\.retries/],
    [
      'it is repeated nobody knows how often',
      '    retries: 1\n',
      '',
      /external\.library\.retries: Is missing; .* number/,
    ],
    ['a header of it is no name', 'webhook-id,', 'Webhook_Id,', /name of a header in lower case/],
    ['it is no YAML', 'namespace: shop', 'namespace: [shop', /no valid YAML/],
  ])('%s', (_, from, to, expected) => {
    expect(faults(from, to).join('\n')).toMatch(expected);
  });

  test('a field that is not known is told on its own line, whatever is below it', () => {
    const found = faults('sends: [books]', 'send:\n      - books');
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^line 31: services\.readers\.send: /);
  });

  test('all of them are listed, each with its line', () => {
    const found = faults(/consumes: \[books\]\n {4}sends: \[books\]/, 'consumes: [boks]\n    sends: [boks]');
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^line 30: services\.readers\.consumes\.0/);
    expect(found[1]).toMatch(/^line 31: /);
  });
});
