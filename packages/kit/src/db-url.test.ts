import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parseDatabaseUrl } from './db-url.ts';

const PLAIN = 'postgres://orders_app:p%40ss@db.test:5432/orders';
const PEM = '-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n';

function file(content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-db-url-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'ca.pem'), content);
  return join(folder, 'ca.pem');
}

test('without a word about TLS there is none; other settings stay in the URL', () => {
  expect(parseDatabaseUrl(PLAIN)).toEqual({ url: PLAIN });
  expect(parseDatabaseUrl(`${PLAIN}?sslmode=disable`)).toEqual({ url: PLAIN });
  expect(parseDatabaseUrl(`${PLAIN}?search_path=shop&sslmode=require`)).toEqual({
    url: `${PLAIN}?search_path=shop`,
    tls: { mode: 'require' },
  });
});

test('modes and authorities mean what they mean to libpq', () => {
  const ca = file(PEM);
  const tlsOf = (query: string) => parseDatabaseUrl(`${PLAIN}?${query}`).tls;
  expect(tlsOf('sslmode=verify-ca')).toEqual({ mode: 'verify-ca' });
  expect(tlsOf('sslmode=verify-full')).toEqual({ mode: 'verify-full' });
  expect(tlsOf(`sslmode=verify-full&sslrootcert=${ca}`)).toEqual({ mode: 'verify-full', ca: PEM });
  expect(tlsOf(`sslmode=require&sslrootcert=${encodeURIComponent(ca)}`)).toEqual({
    mode: 'verify-ca',
    ca: PEM,
  });
  expect(tlsOf('sslrootcert=system')).toEqual({ mode: 'verify-full' });
  expect(tlsOf(`sslmode=disable&sslrootcert=${ca}`)).toBeUndefined();
});

test.each([
  ['sslmode=prefer', /verify-full, or disable/],
  ['sslmode=allow', /verify-full, or disable/],
  ['sslmode=Require', /must be disable, require/],
  ['sslmode=', /must be disable, require/],
  ['ssl=true', /ssl is not supported .* use sslmode/],
  ['sslmode=verify-full&sslcert=/x', /sslcert is not supported/],
  ['sslrootcert=/x', /add sslmode=verify-full/],
  ['sslmode=require&sslrootcert=system', /needs sslmode=verify-full/],
  ['sslmode=verify-full&sslrootcert=/no/such/file', /sslrootcert=\/no\/such\/file cannot be read/],
])('%s is refused, with its cure and without the password', (query, message) => {
  let refusal: unknown;
  try {
    parseDatabaseUrl(`${PLAIN}?${query}`);
  } catch (err) {
    refusal = err;
  }
  expect(String(refusal)).toMatch(message);
  expect(String(refusal)).not.toContain('p%40ss');
});

test('what is no URL is refused without being shown', () => {
  for (const bad of ['postgres://u:hunter2@h:port/d', 'postgres://u:hunter2@h1:1,h2:2/d', 'hunter2']) {
    let refusal: object = {};
    try {
      parseDatabaseUrl(bad);
    } catch (err) {
      refusal = err as object;
    }
    expect(refusal).toMatchObject({ message: expect.stringContaining('postgres://user:password@host') });
    expect(JSON.stringify({ ...refusal, text: String(refusal) })).not.toContain('hunter2');
  }
});

test('a file that is no certificate is refused', () => {
  const key = file('-----BEGIN PRIVATE KEY-----\n');
  expect(() => parseDatabaseUrl(`${PLAIN}?sslmode=verify-full&sslrootcert=${key}`)).toThrow(/no certificate/);
});
