import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTopology } from '../generator/topology.ts';
import { exitWithUsage, optionsOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { ShopError } from '../local/shop-error.ts';
import { makeAuthority } from './authority.ts';
import { judgeCluster } from './cluster-check.ts';
import { gatherClusterFacts } from './cluster-facts.ts';
import { databasesScript } from './databases-script.ts';
import { chooseContext, kubectl } from './kubectl.ts';
import { keySteps, secretsForSimulators } from './new-keys.ts';
import { passwordSteps, readInitContainers } from './new-passwords.ts';
import { checkOptions, missingSecrets, readSecrets, secretList } from './secrets.ts';

const SECRETS_USAGE = `npm run k8s -- secrets [options]

Makes the Secrets of the shop that are missing, with new passwords and tokens. Changes none that exists, prints none;
one that exists and is for another place than an option says is an error.

  --database URL    a PostgreSQL outside: its URL with {user}, {password} and {database} where a service's own come
  --broker URL      a broker outside: its URL with login; @FILE reads it from a file
  --ca FILE         the certificates (PEM) of a private authority that signed those of database and broker
  --namespace NAME  default: that of topology.yaml
  --context NAME    the cluster, by its name in kubectl's configuration; without it the current one, if it is local by its name
  --help            this text`;

const DATABASES_USAGE = `npm run --silent k8s -- databases [options]

Prints the SQL that makes each service's database and its two roles, with the passwords of the Secrets, for psql as a superuser.
Repeating it changes nothing but passwords. It shows secrets: pipe it.

  --namespace NAME  default: that of topology.yaml
  --context NAME    the cluster, by its name in kubectl's configuration; without it the current one, if it is local by its name
  --help            this text`;

const CA_USAGE = `npm run k8s -- ca [options]

Makes a certificate authority for Dapr: a root, and an issuer for sentry as a values file for helm.

  --out FOLDER      where to (default: .run/dapr-ca); only the owner can read what is in it
  --days NUMBER     how long the issuer is valid (default: 365); the root is for ten years
  --renew           a new issuer from the root that is there
  --help            this text`;

const CHECK_USAGE = `npm run k8s -- check [options]

Says what the shop finds in a cluster for development and what is missing, with the cure of each. Changes nothing.

  --context NAME    the cluster, by its name in kubectl's configuration; without it the current one, if it is local by its name
  --help            this text`;

const COMMANDS: Record<string, { usage: string; run: (args: string[]) => void }> = {
  secrets: { usage: SECRETS_USAGE, run: secrets },
  databases: { usage: DATABASES_USAGE, run: databases },
  ca: { usage: CA_USAGE, run: authority },
  check: { usage: CHECK_USAGE, run: check },
};

function secrets(args: string[]): void {
  const text = { type: 'string' } as const;
  const options = { database: text, broker: text, ca: text, namespace: text, context: text };
  const given = optionsOrExit(SECRETS_USAGE, options, args);
  const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const namespace = given.namespace ?? topology.namespace;
  const wanted = {
    services: topology.services,
    externals: topology.externals,
    brokerKind: topology.broker,
    database: given.database,
    broker: given.broker?.startsWith('@') ? readText(given.broker.slice(1)).trim() : given.broker,
    authority: given.ca === undefined ? undefined : readText(given.ca),
  };
  // Before the cluster is touched: a namespace must not be made for the sake of options that are wrong.
  checkOptions(wanted);
  const context = chooseContext(given.context);
  const run = (rest: string[], input?: string) => kubectl([`--context=${context.name}`, ...rest], input);

  console.log(`Cluster ${context.name}, namespace ${namespace}`);
  ensureNamespace({ run, context: context.name }, namespace, topology.namespace);
  const existing = readSecrets(run(['get', 'secrets', `--namespace=${namespace}`, '--output=json']));
  const kubectlThere = `kubectl --context=${context.name} --namespace=${namespace}`;
  const missing = missingSecrets({ ...wanted, kubectl: kubectlThere }, existing);
  const names = Object.keys(missing).sort();
  // Not apply: that would keep a copy of each in an annotation, and change those that exist.
  if (names.length > 0) run(['create', '--filename=-'], JSON.stringify(secretList(missing, namespace)));
  const forSimulator = secretsForSimulators(topology.externals);
  for (const name of names)
    console.log(`made ${name}${forSimulator.includes(name) ? ', with values for the simulator' : ''}`);
  console.log(names.length > 0 ? `${names.length} made, the others were there.` : 'All Secrets were there.');
  if (names.length === 0) return;
  const running = run(['get', 'deployments', `--namespace=${namespace}`, '--output=json']);
  const after = { made: names, deployments: readInitContainers(running), kubectl: kubectlThere };
  const isOutside = given.database !== undefined || given.broker !== undefined;
  const steps = [
    ...passwordSteps(after),
    ...keySteps({ ...after, externals: topology.externals, isOutside }),
  ];
  for (const step of steps) console.log(step);
}

function databases(args: string[]): void {
  const text = { type: 'string' } as const;
  const given = optionsOrExit(DATABASES_USAGE, { namespace: text, context: text }, args);
  const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const namespace = given.namespace ?? topology.namespace;
  const context = chooseContext(given.context);
  const list = ['get', 'secrets', `--namespace=${namespace}`, '--output=json'];
  const secrets = readSecrets(kubectl([`--context=${context.name}`, ...list]));
  console.log(databasesScript(topology.services, secrets));
}

function ensureNamespace(
  { run, context }: { run: (args: string[]) => string; context: string },
  namespace: string,
  own: string,
): void {
  if (run(['get', 'namespace', namespace, '--ignore-not-found', '--output=name']).trim() !== '') return;
  if (namespace !== own)
    throw new ShopError(
      `there is no namespace ${namespace}`,
      `make it first: kubectl --context=${context} create namespace ${namespace}`,
    );
  run(['apply', `--filename=${join(CHECKOUT, 'k8s/base/namespace.yaml')}`]);
  console.log(`made namespace ${namespace}`);
}

function authority(args: string[]): void {
  const options = {
    out: { type: 'string', default: join(CHECKOUT, '.run', 'dapr-ca') },
    days: { type: 'string', default: '365' },
    renew: { type: 'boolean', default: false },
  } as const;
  const { out, days, renew } = optionsOrExit(CA_USAGE, options, args);
  if (!/^[1-9]\d{0,3}$/.test(days)) exitWithUsage(`--days ${days}: write a number from 1 to 9999`, CA_USAGE);
  const { values, root } = makeAuthority({ folder: out, days: Number(days), renew });
  console.log(`Issuer for helm: ${values}\nRoot: ${root}. Keep it offline; only --renew needs it.`);
}

function check(args: string[]): void {
  const given = optionsOrExit(CHECK_USAGE, { context: { type: 'string' } }, args);
  const context = chooseContext(given.context);
  console.log(`Cluster ${context.name} (${context.server})`);
  for (const { text, cure } of judgeCluster(gatherClusterFacts(context))) {
    console.log(cure === undefined ? `ok       ${text}` : `missing  ${text}\n         Cure: ${cure}`);
    if (cure !== undefined) process.exitCode = 1;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ShopError(
      code === 'ENOENT' ? `there is no file ${file}` : `${file} cannot be read (${code})`,
      // npm runs its scripts there, wherever it was called from.
      `name a file that is there and can be read; a relative path starts in ${process.cwd()}`,
      { cause },
    );
  }
}

const usage = Object.values(COMMANDS)
  .map((command) => command.usage)
  .join('\n\n');
const [name = '', ...args] = process.argv.slice(2);
try {
  const command = COMMANDS[name];
  if (command) command.run(args);
  else if (name === '--help' || name === '-h') console.log(usage);
  else exitWithUsage(name === '' ? 'Name a command' : `Unknown command '${name}'`, usage);
} catch (error) {
  complain(error);
}
