import { join } from 'node:path';
import { streamsFile } from '../generator/broker.ts';
import { type External, loadTopology } from '../generator/topology.ts';
import { localBroker } from './brokers.ts';
import { filesToRun } from './generated.ts';
import type { LocalBroker } from './local-broker.ts';
import { type Instance, planInstances, portRequests } from './plan.ts';
import { choosePorts, movedPorts, portVariable, readPorts, unknownPortVariables } from './ports.ts';
import { writePrivateJson } from './private-file.ts';
import { wantedOf } from './programs/pins.ts';
import { type EnsureOptions, ensurePrograms, ensureServer } from './programs/programs.ts';
import { type Report, step } from './progress-events.ts';
import type { RunFolder } from './run-folder.ts';
import { CHECKOUT } from './run-paths.ts';
import { ensureSecrets } from './secrets.ts';
import { jwksFile } from './sentry.ts';
import type { ShopOptions } from './shop.ts';
import { portOf, type ShopContext } from './shop-context.ts';
import { ShopError } from './shop-error.ts';
import { openTokenMint } from './tokens.ts';

/** Collects all that has to be known before the first process is started. */
export async function gather(o: ShopOptions, run: RunFolder, report: Report): Promise<ShopContext> {
  const say = (text: string) => report({ kind: 'notice', text });
  const { paths } = run;
  const table = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const topology = { ...table, broker: o.broker ?? table.broker };
  const broker = localBroker(topology.broker);
  const { generated, notice } = filesToRun(topology, table, paths.generated);
  if (notice) say(notice);
  const instances = planInstances(topology, o.replicas);
  const programs = await getPrograms(o, broker, report);
  const secrets = ensureSecrets(paths.secrets, topology.services, topology.externals);
  const ports = await agreeOnPorts(instances, broker, topology.externals, run, say);
  const brokerUrl = broker.url(portOf({ ports }, broker.name), secrets.brokerPassword);
  return {
    topology,
    instances,
    broker,
    brokerTasks: broker.tasks(brokerUrl, join(generated, streamsFile(topology.broker))),
    programs,
    paths,
    secrets,
    say,
    ledger: run.ledger,
    ports,
    mint: await openTokenMint({
      keyFile: join(paths.secrets, 'token-key.json'),
      jwksFile: jwksFile(paths.sentry),
      namespace: topology.namespace,
    }),
    generated,
    daprDir: o.daprDir ?? join(generated, 'dapr'),
    appEnv: o.appEnv ?? {},
    certificateTtl: o.certificateTtl,
  };
}

function getPrograms(o: ShopOptions, broker: LocalBroker, report: Report): Promise<ShopContext['programs']> {
  const name = `programs (daprd, sentry, ${wantedOf(broker.program).binary})`;
  const options: EnsureOptions = {
    env: o.daprd === undefined ? process.env : { ...process.env, SIDECART_DAPRD: o.daprd },
    progress: (text, { passing = false } = {}) => report({ kind: 'detail', step: name, text, passing }),
    signal: o.signal,
  };
  return step(report, name, async () => {
    // First what can only be here or not: nobody shall wait for a build to hear of it.
    const server = await ensureServer(broker.program, options);
    const { daprd, sentry } = await ensurePrograms({ ...options, only: ['daprd', 'sentry'] });
    return { daprd: daprd.path, sentry: sentry.path, broker: server.path };
  });
}

async function agreeOnPorts(
  instances: Instance[],
  broker: LocalBroker,
  externals: External[],
  { paths, claims }: RunFolder,
  say: (text: string) => void,
): Promise<Record<string, number>> {
  const requests = portRequests(instances, { name: broker.name, preferred: broker.preferredPort }, externals);
  for (const name of unknownPortVariables(process.env, requests))
    say(`${name} is the name of no port here and was ignored`);
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const claimed = claims.others();
    const remembered = readPorts(paths.ports);
    const choice = { requests, remembered, env: process.env, claimed };
    const chosen = await choosePorts(choice);
    if (!claims.claim(Object.values(chosen))) continue;
    const moved = movedPorts(choice, chosen);
    if (moved) say(moved);
    // One set by environment is for as long as it is set.
    const own = Object.entries(chosen).filter(([name]) => !process.env[portVariable(name)]);
    writePrivateJson(paths.ports, { ...remembered, ...Object.fromEntries(own) });
    return chosen;
  }
  throw new ShopError('other shops took every port that was chosen', 'start again');
}
