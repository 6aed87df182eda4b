import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import { writePrivateFile } from './private-file.ts';
import { ensureSecrets } from './secrets.ts';
import { testFolder } from './testing.ts';
import { openTokenMint } from './tokens.ts';

const services = [
  { name: 'gateway', database: false },
  { name: 'orders', database: true },
];
const mode = (file: string) => statSync(file).mode & 0o777;

test('secrets are made once, for their owner only, and a new service gets its own', () => {
  const folder = join(testFolder(), 'secrets');
  const first = ensureSecrets(folder, services);
  expect(first.databases.gateway).toBeUndefined();
  expect(first.apps.gateway?.appToken).toMatch(/^[0-9a-f]{48}$/);
  const all = JSON.stringify(first).match(/[0-9a-f]{48}/g) ?? [];
  expect(new Set(all).size).toBe(all.length);
  const second = ensureSecrets(folder, [...services, { name: 'carts', database: true }]);
  expect(second).toMatchObject(first);
  expect(second.databases.carts?.ownerPassword).toBeDefined();
  for (const name of readdirSync(folder)) expect(mode(join(folder, name))).toBe(0o600);
  expect(mode(folder)).toBe(0o700);
});

test('what a service and an API outside know of each other is made once, key by key', () => {
  const folder = join(testFolder(), 'secrets');
  const bank = { name: 'bank', users: ['orders'], secret: ['api_key'] };
  const first = ensureSecrets(folder, services, [bank]).externals['orders-bank'];
  expect(first).toEqual({ api_key: expect.stringMatching(/^[0-9a-f]{48}$/) });
  const more = { ...bank, secret: ['api_key', 'webhook_secret'] };
  const second = ensureSecrets(folder, services, [more]).externals['orders-bank'];
  expect(second).toEqual({ ...first, webhook_secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/) });
  expect(ensureSecrets(folder, services, [more]).externals['orders-bank']).toEqual(second);
});

test('a private file stays private when an open one was there', () => {
  const file = join(testFolder(), 'x');
  writeFileSync(file, 'old', { mode: 0o644 });
  writeFileSync(`${file}.new`, 'left behind', { mode: 0o644 });
  writePrivateFile(file, 'new');
  expect([readFileSync(file, 'utf8'), mode(file), existsSync(`${file}.new`)]).toEqual(['new', 0o600, false]);
});

test('a token names its app and holds against the published key, which is the public half only', async () => {
  const folder = testFolder();
  const [keyFile, jwksFile, tokenFile] = ['key.json', 'jwks.json', 'token'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const mint = await openTokenMint({ keyFile, jwksFile, namespace: 'shop' });
  await mint.mint('orders', tokenFile);
  const jwks = JSON.parse(readFileSync(jwksFile, 'utf8'));
  expect(jwks.keys[0]).not.toHaveProperty('d');
  const { payload } = await jwtVerify(readFileSync(tokenFile, 'utf8'), createLocalJWKSet(jwks));
  expect(payload).toMatchObject({
    sub: 'spiffe://public/ns/shop/orders',
    aud: 'spiffe://dapr.local/ns/default/dapr-sentry',
  });
  expect((payload.exp ?? 0) - Date.now() / 1000).toBeGreaterThan(600);
  expect([keyFile, tokenFile].map(mode)).toEqual([0o600, 0o600]);
  const before = readFileSync(keyFile, 'utf8');
  await openTokenMint({ keyFile, jwksFile, namespace: 'shop' });
  expect(readFileSync(keyFile, 'utf8')).toBe(before);
});
