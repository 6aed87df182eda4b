import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalog } from '@sidecart/contracts/catalog';
import type { Topology } from '../generator/topology.ts';
import { chooseContext, kubectl } from '../k8s/kubectl.ts';
import { portForward } from '../k8s/port-forward.ts';
import { runPaths } from '../local/run-paths.ts';
import type { ShopSecrets } from '../local/secrets.ts';
import { ShopError } from '../local/shop-error.ts';
import { readShopFile } from '../local/shop-file.ts';

/** How an operator reaches the app of a service: past the gateway and the sidecars, by its own token. */
export interface ServiceAccess {
  url: string;
  token: string;
  close(): void;
}

export type FindService = (service: string) => Promise<ServiceAccess>;

/** The services that take messages, from others or from themselves. */
export function receivers({ services, topics }: Topology): string[] {
  const toItself = new Set<string>(
    Object.values(catalog).flatMap((message) => ('service' in message ? message.service : [])),
  );
  return services
    .map(({ name }) => name)
    .filter((name) => toItself.has(name) || topics.some(({ consumers }) => consumers.includes(name)));
}

/** In the shop that runs on this machine from `runDir`. */
export function localServices(runDir: string): FindService {
  return async (service) => {
    const shop = readShopFile(runDir);
    if (!shop)
      throw new ShopError(
        'no shop runs here',
        'start it with `npm start`, or name a cluster with --context NAME',
      );
    // With several replicas any will do: what they decide is in the database that they share.
    const found = shop.processes.find(
      ({ name, state }) =>
        (name === service || name.startsWith(`${service}-`)) && !name.endsWith('-dapr') && state === 'ready',
    );
    const { apps } = JSON.parse(
      readFileSync(join(runPaths(runDir).secrets, 'shop.json'), 'utf8'),
    ) as ShopSecrets;
    const token = apps[service]?.appToken;
    if (!found || token === undefined)
      throw new ShopError(
        `${service} is not ready here`,
        'look at the table that `npm start` prints, and at its log',
      );
    return { url: found.url, token, close() {} };
  };
}

/** In a cluster, by a port-forward and the Secret with the token, which whoever uses it must be allowed to read. */
export function clusterServices(
  { services }: Topology,
  o: { context: string | undefined; namespace: string },
): FindService {
  const context = chooseContext(o.context).name;
  return async (service) => {
    const row = services.find(({ name }) => name === service);
    if (!row) throw new ShopError(`there is no service ${service}`, 'see topology.yaml');
    const args = [
      `--context=${context}`,
      'get',
      'secret',
      `${service}-app-token`,
      '--namespace',
      o.namespace,
    ];
    const token = kubectl([...args, '--output=jsonpath={.data.token}']);
    const forward = portForward(o.namespace, `deployment/${service}`, [row.port], {
      context,
      // A person waits, for one service after the other.
      withinMs: 10_000,
    });
    const { ports, stop } = await forward.catch((cause: Error) => {
      throw new ShopError(
        cause.message,
        `is it running? kubectl --context=${context} --namespace=${o.namespace} get deployment ${service}`,
        { cause },
      );
    });
    return {
      url: `http://127.0.0.1:${ports[0]}`,
      token: Buffer.from(token, 'base64').toString(),
      close: stop,
    };
  };
}
