import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { accessRules, configurationOutputs } from './configuration.ts';
import { topology } from './fixture.ts';

const rules = (...operations: string[]) =>
  accessRules([
    {
      operations: operations.map((text) => {
        const [method = '', path = ''] = text.split(' ');
        return { method, path };
      }),
    },
  ]);

test('a path is closed at its end, and a parameter in the middle is written as Dapr matches it', () => {
  expect(rules('GET /v1/books', 'POST /v1/books/{id}/lend')).toEqual([
    { name: '/v1/books/*', httpVerb: ['GET'], action: 'allow' },
    { name: '/v1/books/***/lend/*', httpVerb: ['POST'], action: 'allow' },
  ]);
});

test('a list and its items share a rule with the verbs of both: Dapr cannot tell them apart', () => {
  expect(rules('POST /v1/books', 'GET /v1/books/{id}', 'GET /v1/books')).toEqual([
    { name: '/v1/books/*', httpVerb: ['GET', 'POST'], action: 'allow' },
  ]);
});

test('the order is such that no rule hides another', () => {
  const names = rules('GET /v1/stock/{id}/moves', 'GET /v1/stock/{id}', 'POST /v1/stock/receipts').map(
    ({ name }) => name,
  );
  expect(names).toEqual(['/v1/stock/receipts/*', '/v1/stock/*', '/v1/stock/***/moves/*']);
});

test('each caller has its own rules, and an app that nobody calls has none', () => {
  const policiesOf = (app: string) => {
    const file = configurationOutputs(topology).find(({ path }) => path === `dapr/${app}/configuration.yaml`);
    return parse(file?.content ?? '').spec.accessControl.policies;
  };
  expect(policiesOf('books').map((policy: { appId: string }) => policy.appId)).toEqual(['edge', 'readers']);
  expect(policiesOf('books')[1].operations).toEqual([
    { name: '/sent/books/*', httpVerb: ['POST'], action: 'allow' },
    { name: '/v1/books/*', httpVerb: ['GET'], action: 'allow' },
  ]);
  expect(policiesOf('edge')).toEqual([]);
});

test('who receives on a topic may ask its senders what they sent on it, and nobody else may', () => {
  const asks = topology.calls.filter(({ repairs }) => repairs !== undefined);
  expect(asks.map(({ caller, callee, repairs }) => [caller, callee, repairs])).toEqual([
    ['readers', 'books', 'books'],
    ['books', 'readers', 'commands.books'],
  ]);
  const paths = asks.flatMap(({ operations }) => operations.map(({ method, path }) => `${method} ${path}`));
  expect(paths).toEqual(['POST /sent/books', 'POST /sent/commands.books']);
});
