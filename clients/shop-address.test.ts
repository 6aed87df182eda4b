import { afterEach, expect, test, vi } from 'vitest';
import { findShop } from './shop-address.ts';

const NOWHERE = { SIDECART_RUN_DIR: '/nowhere' };
const answers = () => vi.stubGlobal('fetch', async () => new Response('ok'));
afterEach(() => vi.unstubAllGlobals());

test('the address given counts before that of the environment', async () => {
  answers();
  const env = { ...NOWHERE, SIDECART_URL: 'http://b:2' };
  expect(await findShop('http://a:1/', env)).toBe('http://a:1');
  expect(await findShop(undefined, env)).toBe('http://b:2');
});

test('a shop that is not started is told with the cure', async () => {
  await expect(findShop(undefined, NOWHERE)).rejects.toThrow('Start it with `npm start`');
});

test('a shop that does not answer is told with the cure', async () => {
  vi.stubGlobal('fetch', async () => {
    throw new TypeError('fetch failed');
  });
  await expect(findShop('http://a:1', NOWHERE)).rejects.toThrow('does not answer at http://a:1');
});

test('what is no address is told', async () => {
  await expect(findShop('localhost:8080', NOWHERE)).rejects.toThrow('is no address');
});
