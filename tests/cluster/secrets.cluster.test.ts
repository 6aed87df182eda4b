import { describe, expect, inject, test } from 'vitest';
import { secretsOf } from '../../generator/topology.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { asDocuments, kubectl, list } from './kubectl.ts';

const { namespace } = inject('cluster') as ClusterAccess;

interface Question {
  account: string;
  verb: string;
  /** Without one, of all Secrets. */
  secret?: string;
}

/** What the API server's authorizer says to each question, in one request. */
async function allowed(questions: Question[]): Promise<boolean[]> {
  const reviews = questions.map(({ account, verb, secret }) => ({
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: `system:serviceaccount:${namespace}:${account}`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      resourceAttributes: { namespace, verb, resource: 'secrets', ...(secret ? { name: secret } : {}) },
    },
  }));
  const args = ['create', '-f', '-', '-o', 'jsonpath={.status.allowed}{"\\n"}'];
  const answers = (await kubectl(args, { input: asDocuments(reviews) })).trim().split('\n');
  expect(answers).toHaveLength(questions.length);
  return answers.map((answer) => answer === 'true');
}

/** By the table: its own database login, and its own key to each API of others that it calls. */
const own = topology.services.flatMap(({ name }) =>
  secretsOf(name, topology).map((secret) => ({ name, secret })),
);

describe('ServiceAccounts and Secrets', () => {
  test('each service may read its own database login and its own keys to APIs of others, and nobody reads anything else', async () => {
    const accounts = (await list('serviceaccounts', namespace)).map(({ metadata }) => metadata.name);
    const secrets = (await list('secrets', namespace)).map(({ metadata }) => metadata.name);
    expect(accounts).toEqual(
      expect.arrayContaining([...topology.services.map(({ name }) => name), 'default']),
    );
    expect(secrets).toEqual(expect.arrayContaining(own.map(({ secret }) => secret)));
    expect(own).toContainEqual({ name: 'payments', secret: 'payments-provider' });
    const questions = accounts.flatMap((account) =>
      secrets.map((secret) => ({ account, verb: 'get', secret })),
    );
    const answers = await allowed(questions);
    const readable = questions
      .filter((_, i) => answers[i])
      .map(({ account, secret }) => `${account} reads ${secret}`);
    expect(readable.sort()).toEqual(own.map(({ name, secret }) => `${name} reads ${secret}`).sort());
  });

  test('nobody may list, watch, change or remove Secrets', async () => {
    const accounts = (await list('serviceaccounts', namespace)).map(({ metadata }) => metadata.name);
    const questions = accounts.flatMap((account) =>
      ['list', 'watch', 'create', 'update', 'patch', 'delete'].map((verb) => ({ account, verb })),
    );
    expect((await allowed(questions)).filter(Boolean)).toEqual([]);
  });
});
