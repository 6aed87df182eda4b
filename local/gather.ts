import { join } from 'node:path';
import { loadTopology } from '../generator/topology.ts';
import { readBrokerWanted } from '../platform/streams.ts';
import { type Instance, planInstances, portRequests } from './plan.ts';
import { choosePorts, portVariable, readPorts, unknownPortVariables } from './ports.ts';
import { writePrivateJson } from './private-file.ts';
import { ensurePrograms } from './programs/programs.ts';
import { type Report, step } from './progress-events.ts';
import type { RunFolder } from './run-folder.ts';
import { CHECKOUT } from './run-paths.ts';
import { ensureSecrets } from './secrets.ts';
import { jwksFile } from './sentry.ts';
import type { ShopOptions } from './shop.ts';
import type { ShopContext } from './shop-context.ts';
import { ShopError } from './shop-error.ts';
import { openTokenMint } from './tokens.ts';

/** Collects all that has to be known before the first process is started. */
export async function gather(o: ShopOptions, run: RunFolder, report: Report): Promise<ShopContext> {
  const say = (text: string) => report({ kind: 'notice', text });
  const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const instances = planInstances(topology, o.replicas);
  const programs = await getPrograms(o, report);
  const { paths } = run;
  const secrets = ensureSecrets(paths.secrets, topology.services);
  return {
    topology,
    instances,
    programs,
    paths,
    secrets,
    say,
    ledger: run.ledger,
    ports: await agreeOnPorts(instances, run, say),
    broker: readBrokerWanted(
      join(CHECKOUT, 'components', 'brokers', `${topology.broker}-streams.generated.yaml`),
    ),
    mint: await openTokenMint({
      keyFile: join(paths.secrets, 'token-key.json'),
      jwksFile: jwksFile(paths.sentry),
      namespace: topology.namespace,
    }),
    componentsDir: join(CHECKOUT, 'components'),
    daprDir: o.daprDir ?? join(CHECKOUT, 'dapr'),
    appEnv: o.appEnv ?? {},
  };
}

function getPrograms(o: ShopOptions, report: Report): Promise<ShopContext['programs']> {
  const name = 'programs (daprd, sentry, nats-server)';
  return step(report, name, async () => {
    const found = await ensurePrograms({
      env: o.daprd === undefined ? process.env : { ...process.env, SIDECART_DAPRD: o.daprd },
      progress: (text, { passing = false } = {}) => report({ kind: 'detail', step: name, text, passing }),
      signal: o.signal,
    });
    return { daprd: found.daprd.path, sentry: found.sentry.path, natsServer: found.natsServer.path };
  });
}

async function agreeOnPorts(
  instances: Instance[],
  { paths, claims }: RunFolder,
  say: (text: string) => void,
): Promise<Record<string, number>> {
  const requests = portRequests(instances);
  for (const name of unknownPortVariables(process.env, requests))
    say(`${name} is the name of no port here and was ignored`);
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const claimed = claims.others();
    const remembered = readPorts(paths.ports);
    const chosen = await choosePorts({ requests, remembered, env: process.env, claimed });
    if (!claims.claim(Object.values(chosen))) continue;
    // One set by environment is for as long as it is set.
    const own = Object.entries(chosen).filter(([name]) => !process.env[portVariable(name)]);
    writePrivateJson(paths.ports, { ...remembered, ...Object.fromEntries(own) });
    return chosen;
  }
  throw new ShopError('other shops took every port that was chosen', 'start again');
}
