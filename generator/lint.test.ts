import { expect, test } from 'vitest';
import { daprFiles, topology } from './fixture.ts';
import { lintFiles } from './lint.ts';

/** The generated files with one of them changed. */
function broken(path: string, from: string | RegExp, to: string): string[] {
  const files = daprFiles();
  const file = files.find((candidate) => candidate.path === path);
  if (!file) throw new Error(`${path} is not generated`);
  const content = file.content.replace(from, to);
  expect(content, 'the change changed nothing').not.toBe(file.content);
  return lintFiles([...files.filter((candidate) => candidate !== file), { path, content }], topology);
}

const FACTS = 'components/pubsub-books.yaml';
const SUBSCRIPTION = 'dapr/readers/subscriptions.yaml';
const RESILIENCY = 'dapr/readers/resiliency.yaml';
const CONFIGURATION = 'dapr/books/configuration.yaml';
const ENDPOINT = 'dapr/external/library.yaml';
const CALLER = 'dapr/books/resiliency.yaml';

test('what the generator makes is without a fault', () => {
  expect(lintFiles(daprFiles(), topology)).toEqual([]);
});

test('an external API without its HTTPEndpoint is missed', () => {
  const files = daprFiles().filter(({ path }) => path !== ENDPOINT);
  expect(lintFiles(files, topology).join()).toMatch(/no HTTPEndpoint library/);
});

test.each([
  ['an HTTPEndpoint for everybody', ENDPOINT, /scopes:\n +- books\n/, '', /lets books call it/],
  ['an HTTPEndpoint for one more', ENDPOINT, /$/, '  - readers\n', /lets books call it/],
  [
    'an HTTPEndpoint of nothing in the table',
    ENDPOINT,
    'name: library',
    'name: archive',
    /no external API archive/,
  ],
  ['an address that is none', ENDPOINT, 'http://library:8190', 'library:8190', /no address such as/],
  [
    'a secret that every sidecar would get',
    ENDPOINT,
    'spec:\n',
    'spec:\n  headers: [{ name: authorization, secretKeyRef: { name: books-library, key: api_key } }]\n',
    /hand to every sidecar/,
  ],
  [
    'a header in place of the app',
    ENDPOINT,
    'spec:\n',
    'spec:\n  headers: [{ name: accept, value: text/html }]\n',
    /in place of what the app says/,
  ],
  [
    'an attempt without an end',
    CALLER,
    '        timeout: external-library\n',
    '',
    /not ended after the 2000 ms of topology.yaml/,
  ],
  [
    'an attempt that takes longer',
    CALLER,
    'external-library: 2000ms',
    'external-library: 9s',
    /2000 ms of topology/,
  ],
  ['more attempts', CALLER, 'maxRetries: 1', 'maxRetries: 9', /repeated 9 times, but topology.yaml says 1/],
  ['no second attempt', CALLER, '        retry: external-library\n', '', /repeated 0 times/],
  [
    'a breaker for an external API',
    CALLER,
    '        retry: external-library',
    '        retry: external-library\n        circuitBreaker: peer',
    /circuitBreaker peer/,
  ],
  ['two documents in a resiliency file', RESILIENCY, /$/, '---\nkind: Resiliency\n', /ignores the rest/],
  [
    'a retry without end',
    RESILIENCY,
    /maxRetries: 3\n {8}matching/,
    'matching',
    /retry deliver has no maxRetries/,
  ],
  [
    'a retry after any answer',
    RESILIENCY,
    /\n +matching:\n +http.*\n +gRPC.*/,
    '',
    /no matching\.httpStatusCodes/,
  ],
  ['a retry after any HTTP answer', RESILIENCY, /httpStatusCodes: .*\n/, '', /no matching\.httpStatusCodes/],
  ['a retry without a pause', RESILIENCY, /\n +duration: 500ms/, '', /has no duration/],
  ['a slip in a field', RESILIENCY, 'maxRetries: 3', 'maxRetry: 3', /spec\.policies\.retries/],
  [
    'calls without a timeout',
    RESILIENCY,
    /\n +DefaultAppTimeoutPolicy: .*/,
    '',
    /calls from readers to books have no timeout/,
  ],
  [
    'a timeout below the table',
    RESILIENCY,
    'DefaultAppTimeoutPolicy: 2000ms',
    'DefaultAppTimeoutPolicy: 900ms',
    /before the 2000 ms/,
  ],
  [
    'a timeout that is none',
    RESILIENCY,
    'DefaultAppTimeoutPolicy: 2000ms',
    'DefaultAppTimeoutPolicy: 1 second',
    /is no duration/,
  ],
  [
    'a target without a timeout',
    RESILIENCY,
    'targets:',
    'targets:\n    apps: { books: {} }',
    /calls from readers to books have no timeout/,
  ],
  [
    'a target that is not called',
    RESILIENCY,
    'targets:',
    'targets:\n    apps: { edge: { timeout: publish } }',
    /does not call edge/,
  ],
  ['an unknown timeout', RESILIENCY, 'timeout: publish', 'timeout: publsh', /uses the timeout publsh/],
  ['an unknown retry', RESILIENCY, 'retry: deliver', 'retry: delivr', /uses the retry delivr/],
  ['an unknown component', RESILIENCY, 'pubsub-books:', 'pubsub-book:', /has no component pubsub-book/],
  [
    'no timeout to deliver',
    RESILIENCY,
    /inbound:\n {10}timeout: deliver\n/,
    'inbound:\n',
    /deliveries of pubsub-books to readers have no timeout/,
  ],
  [
    'no timeout to publish',
    RESILIENCY,
    /\n +outbound:\n +timeout: publish/,
    '',
    /has no timeout\. Set its outbound/,
  ],
  [
    'deliveries as long as the ack wait',
    RESILIENCY,
    'deliver: 3s',
    'deliver: 5s',
    /may take 21500 ms, but the broker waits 20000 ms/,
  ],
  [
    'a breaker on a call',
    RESILIENCY,
    'targets:',
    'targets:\n    apps: { books: { timeout: publish, circuitBreaker: x } }',
    /a few bad requests refuse everybody/,
  ],
  [
    'a breaker on every call',
    RESILIENCY,
    'policies:',
    'policies:\n    circuitBreakers: { DefaultAppCircuitBreakerPolicy: {} }',
    /a few bad requests refuse everybody/,
  ],
  ['a resiliency for every app', RESILIENCY, /scopes:\n.*\n/, '', /it would count for every app/],

  ['an open publisher', FACTS, ';readers=probe', '', /readers is not in publishingScopes/],
  [
    'a publisher that the table does not have',
    FACTS,
    'readers=probe',
    'readers=books',
    /lets readers publish to books/,
  ],
  [
    'a reader that the table does not have',
    FACTS,
    'value: "books=;',
    'value: "books=books;',
    /lets books read books/,
  ],
  ['an open reader', FACTS, 'books=;', '', /books is not in subscriptionScopes/],
  [
    'an unprotected topic',
    FACTS,
    /(protectedTopics, value: )"books,probe"/,
    '$1"probe"',
    /books is not in protectedTopics/,
  ],
  ['topics without a limit', FACTS, /.*allowedTopics.*\n/, '', /allowedTopics is missing/],
  ['a component for all', FACTS, /scopes: .*/, '', /has no scopes/],
  [
    'a component for a stranger',
    FACTS,
    /scopes: .*/,
    'scopes: [books, readers, edge]',
    /edge loads pubsub-books/,
  ],
  ['parallel deliveries', FACTS, 'value: single', 'value: parallel', /a failed delivery is lost/],
  ['a limited number of deliveries', FACTS, 'value: "-1"', 'value: "20"', /maxDeliver is limited/],
  [
    'a queue group of another name',
    FACTS,
    /(queueGroupName, value: )"[^"]*"/,
    '$1"{appID}"',
    /queueGroupName is not as durableName/,
  ],
  [
    'a consumer as nobody makes it',
    FACTS,
    /(.*)name: concurrency/,
    '$1name: deliverPolicy, value: new }\n$1name: concurrency',
    /deliverPolicy is not among what the consumer is made with/,
  ],
  ['no ack wait', FACTS, /.*ackWait.*\n/, '', /ackWait is missing/],
  ['a secret in plain text', FACTS, /secretKeyRef: .*/, 'value: nats://me:word@host', /secret in plain text/],
  ['a value from the environment', FACTS, /secretKeyRef: .*/, 'envRef: NATS_URL', /envRef/],

  [
    'a dead-letter topic',
    SUBSCRIPTION,
    'scopes:',
    '  deadLetterTopic: dead\nscopes:',
    /gives good messages up/,
  ],
  ['no default route', SUBSCRIPTION, 'default: /messages/books', 'rules: []', /there is no default route/],
  [
    'a route that is not there',
    SUBSCRIPTION,
    '/messages/books',
    '/message/books',
    /Dapr drops what is answered 404/,
  ],
  ['a topic that is not there', SUBSCRIPTION, 'topic: books', 'topic: book', /there is no topic book/],
  [
    'a component of another topic',
    SUBSCRIPTION,
    'pubsubname: pubsub-books',
    'pubsubname: pubsub-commands-books-0',
    /is no component of books/,
  ],
  ['a reader outside the table', SUBSCRIPTION, '- readers', '- edge', /does not let edge read books/],
  [
    'bulk deliveries',
    SUBSCRIPTION,
    'scopes:',
    '  bulkSubscribe: { enabled: true }\nscopes:',
    /bulkSubscribe/,
  ],

  [
    'an app open to all',
    CONFIGURATION,
    'defaultAction: deny',
    'defaultAction: allow',
    /any app of the network/,
  ],
  [
    'a caller open to everything',
    CONFIGURATION,
    /(appId: edge\n +defaultAction: )deny/,
    '$1allow',
    /the policy of edge does not deny/,
  ],
  [
    'a caller outside the table',
    CONFIGURATION,
    'appId: readers',
    'appId: strangers',
    /strangers does not call books/,
  ],
  [
    'a rule for everything below',
    CONFIGURATION,
    'name: /v1/titles/*',
    'name: /v1/titles',
    /opens everything below/,
  ],
  ['a rule for any depth', CONFIGURATION, 'name: /v1/titles/*', 'name: /v1/**', /any depth/],
  ['a rule that never matches', CONFIGURATION, '/***/lend', '/*/lend', /never matches/],
  ['a rule for every verb', CONFIGURATION, /httpVerb:\n +- POST/, 'httpVerb: ["*"]', /for every verb/],
  ['an open gRPC API', CONFIGURATION, 'protocol: grpc', 'protocol: http', /no rule for grpc/],
  ['open secrets', CONFIGURATION, 'defaultAccess: deny', 'defaultAccess: allow', /not denied by default/],
  ['no word on secrets', CONFIGURATION, 'secrets:', 'secret:', /secrets\.scopes is missing/],
  [
    'traces cut off',
    CONFIGURATION,
    'metrics:',
    'tracing: { samplingRate: "0" }\n  metrics:',
    /drops the traceparent/,
  ],

  [
    'files that are reloaded',
    CONFIGURATION,
    /(HotReload\n +enabled: )false/,
    '$1true',
    /HotReload is not off/,
  ],
  [
    'files that are reloaded, as no word is said',
    CONFIGURATION,
    /\n +features:(.|\n)*$/,
    '\n',
    /HotReload is not off/,
  ],
  ['no YAML', CONFIGURATION, 'spec:', 'spec: [', /no valid YAML/],
  [
    'a kind that does not belong here',
    CONFIGURATION,
    'kind: Configuration',
    'kind: Deployment',
    /no kind that belongs here/,
  ],
])('%s', (_, path, from, to, expected) => {
  expect(broken(path, from, to).join('\n')).toMatch(expected);
});

test('a fault names its file and line', () => {
  expect(broken(SUBSCRIPTION, 'topic: books', 'topic: book')[0]).toMatch(
    /^dapr\/readers\/subscriptions\.yaml:2: /,
  );
});

test('an app without its files is missed', () => {
  const files = daprFiles().filter(({ path }) => !path.startsWith('dapr/books/'));
  expect(lintFiles(files, topology)).toEqual([
    expect.stringMatching(/no Configuration books/),
    expect.stringMatching(/no Resiliency is scoped to books/),
  ]);
});
