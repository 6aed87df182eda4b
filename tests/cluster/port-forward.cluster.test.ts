import { createServer, type Server } from 'node:net';
import { expect, inject, onTestFinished, test } from 'vitest';
import { portForward } from '../../k8s/port-forward.ts';
import { freePort } from '../../local/ports.ts';
import { call } from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';

const { namespace } = inject('cluster') as ClusterAccess;
const { port } = topology.services.find(({ name }) => name === topology.edge) ?? { port: 0 };
const DAPR_HTTP = 3500;

/** A port of this machine that somebody else has taken. */
async function takenPort(): Promise<number> {
  const taken = await freePort();
  const server = await new Promise<Server>((listening) => {
    const made = createServer().listen(taken, '127.0.0.1', () => listening(made));
  });
  onTestFinished(() => {
    server.close();
  });
  return taken;
}

test.each([
  ['the only one', [port]],
  ['one of several, where kubectl stays with the rest', [port, DAPR_HTTP]],
])('a port that somebody else takes between choice and use, %s, is chosen anew', async (_, remotes) => {
  const chosen = [await takenPort()];
  const forward = await portForward(namespace, `deployment/${topology.edge}`, remotes, {
    withinMs: 20_000,
    choosePort: async () => chosen.pop() ?? freePort(),
  });
  onTestFinished(() => forward.stop());
  expect((await call(`http://127.0.0.1:${forward.ports[0]}`, 'GET', '/livez')).status).toBe(200);
});
