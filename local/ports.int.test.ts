import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { openClaims } from './claims.ts';
import { processIdentity } from './identity.ts';
import { choosePorts, freePort, HIGHEST_PORT, movedPorts } from './ports.ts';
import { testFolder } from './testing.ts';

async function occupied(port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return port;
}

const nothing = { remembered: {}, env: {}, claimed: new Set<number>() };

test('gives the preferred port, or the next free one that nobody else of the shop prefers', async () => {
  const first = await freePort();
  await occupied(first);
  const chosen = await choosePorts({
    ...nothing,
    requests: [
      { name: 'a', preferred: first },
      { name: 'b', preferred: first + 1 },
    ],
  });
  expect(chosen.a).toBeGreaterThan(first + 1);
  expect(chosen.a).toBeLessThanOrEqual(HIGHEST_PORT);
});

test('keeps the port of the last start while it is free', async () => {
  const [preferred, last] = [await freePort(), await freePort()];
  const requests = [{ name: 'a', preferred }];
  expect(await choosePorts({ ...nothing, requests, remembered: { a: last } })).toEqual({ a: last });
  await occupied(last);
  expect((await choosePorts({ ...nothing, requests, remembered: { a: last } })).a).not.toBe(last);
});

test('a port set by environment is taken as it is, or refused with its name', async () => {
  const port = await freePort();
  const requests = [{ name: 'orders-dapr-http', preferred: await freePort() }];
  const choose = (value: string) =>
    choosePorts({ ...nothing, requests, env: { SIDECART_PORT_ORDERS_DAPR_HTTP: value } });
  expect(await choose(String(port))).toEqual({ 'orders-dapr-http': port });
  await occupied(port);
  await expect(choose(String(port))).rejects.toThrow(
    `port ${port}, set by SIDECART_PORT_ORDERS_DAPR_HTTP, is taken`,
  );
  await expect(choose('http')).rejects.toThrow('is no port');
});

test('a port that is not the usual one is told, with the reason; one that was asked for is not', () => {
  const requests = [
    { name: 'orders-dapr-http', preferred: 18_103 },
    { name: 'gateway', preferred: 8080 },
    { name: 'orders', preferred: 8103 },
    { name: 'products', preferred: 8101 },
    { name: 'inventory', preferred: 8102 },
  ];
  const choice = { requests, remembered: { orders: 8113 }, env: {}, claimed: new Set([8101]) };
  const usual = Object.fromEntries(requests.map(({ name, preferred }) => [name, preferred]));
  expect(movedPorts(choice, usual)).toBeUndefined();
  expect(movedPorts(choice, { ...usual, gateway: 8081 })).toBe(
    'not on the usual ports: gateway 8081 (8080 is taken). To choose one: SIDECART_PORT_GATEWAY=PORT',
  );
  const all = { 'orders-dapr-http': 18_104, gateway: 8081, orders: 8113, products: 8104, inventory: 8105 };
  expect(movedPorts(choice, all)).toBe(
    'not on the usual ports: gateway 8081 (8080 is taken), orders 8113 (as at the last start, not 8103), ' +
      'products 8104 (8101 belongs to another shop), 2 more. To choose one: SIDECART_PORT_GATEWAY=PORT',
  );
  const env = { SIDECART_PORT_GATEWAY: '8081' };
  expect(movedPorts({ ...choice, env }, { ...usual, gateway: 8081 })).toBeUndefined();
});

test('two shops that choose at the same moment do not get the same port', async () => {
  const folder = testFolder();
  const identity = processIdentity(process.pid) ?? '';
  const shop = (runDir: string) => openClaims({ pid: process.pid, identity, runDir }, folder);
  const [one, two] = [shop('/one'), shop('/two')];
  expect(one.claim([20_001, 20_002])).toBe(true);
  expect(two.claim([20_002, 20_003])).toBe(false);
  expect(two.others()).toEqual(new Set([20_001, 20_002]));
  expect(two.claim([20_003])).toBe(true);
  one.release();
  expect(two.claim([20_002, 20_003])).toBe(true);
});

test('the claims of a runner that died count for nothing', async () => {
  const folder = testFolder();
  const dead = openClaims({ pid: process.pid, identity: 'another start time', runDir: '/dead' }, folder);
  const alive = openClaims(
    { pid: process.pid, identity: processIdentity(process.pid) ?? '', runDir: '/alive' },
    folder,
  );
  expect(dead.claim([20_001])).toBe(true);
  expect(alive.claim([20_001])).toBe(true);
});
