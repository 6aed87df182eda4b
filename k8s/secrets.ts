import { randomBytes } from 'node:crypto';
import { type External, externalSecret } from '../generator/topology.ts';
import { newExternalSecret } from '../local/external-secrets.ts';
import { ShopError } from '../local/shop-error.ts';
import { type BrokerSecrets, secretsOfBroker } from './broker-secrets.ts';
import { checkAgreement } from './secrets-agreement.ts';

/** Secrets by name, each with its values by key. */
export type Secrets = Record<string, Record<string, string>>;

export interface SecretsWanted {
  services: { name: string; database: boolean }[];
  /** The HTTP APIs of others; their Secrets are good for the simulators. */
  externals?: Pick<External, 'name' | 'users' | 'secret'>[];
  /** URL of a service's database with {user}, {password} and {database} in it; without it, of the one in the cluster. */
  database?: string | undefined;
  /** The broker that the table names. */
  brokerKind: string;
  /** URL of a broker outside, with its login; without it, of the one in the cluster. */
  broker?: string | undefined;
  /** The certificates of a private authority that has signed those of database and broker, as PEM. */
  authority?: string | undefined;
  /** How kubectl is called for the namespace, in what an error advises. */
  kubectl?: string;
}

const IN_CLUSTER_DATABASE = 'postgres://{user}:{password}@postgres:5432/{database}';

/**
 * The Secrets that a shop needs and that `existing` lacks, with new passwords and tokens. None that exists is touched.
 * @throws ShopError for an option that cannot be one, for a Secret that exists without its key, or for one that exists and says
 *   something else than an option.
 */
export function missingSecrets(wanted: SecretsWanted, existing: Secrets): Secrets {
  checkOptions(wanted);
  checkAgreement(wanted, existing);
  if (wanted.database === undefined) checkInCluster(wanted.services, existing);
  const database = wanted.database ?? IN_CLUSTER_DATABASE;
  const all: Record<string, () => Record<string, string>> = {};
  for (const { name, database: hasDatabase } of wanted.services) {
    all[`${name}-api-token`] = () => ({ token: random() });
    all[`${name}-app-token`] = () => ({ token: random() });
    if (!hasDatabase) continue;
    all[`${name}-db`] = () => ({ url: databaseUrl(database, `${name}_app`, name) });
    all[`${name}-db-owner`] = () => ({ url: databaseUrl(database, `${name}_owner`, name) });
  }
  for (const { name, users, secret } of wanted.externals ?? [])
    if (secret.length > 0)
      for (const user of users) all[externalSecret(user, name)] = () => newExternalSecret(secret);
  if (wanted.database === undefined) all['postgres-admin'] = postgresAdmin;
  const { authority } = wanted;
  if (authority !== undefined) all['backing-ca'] = () => ({ 'ca.crt': authority });
  for (const [name, make] of Object.entries(all))
    checkKeys(name, existing[name], Object.keys(make()), wanted.kubectl);
  const missing = Object.entries(all).filter(([name]) => !existing[name]);
  return {
    ...Object.fromEntries(missing.map(([name, make]) => [name, make()])),
    ...brokerSecrets(wanted, existing),
  };
}

/** @throws ShopError for an option that cannot be one, whatever Secrets exist. */
export function checkOptions({ database, broker, brokerKind, authority }: SecretsWanted): void {
  if (database !== undefined) checkTemplate(database);
  if (broker !== undefined) checkBroker(broker, secretsOfBroker(brokerKind));
  if (authority !== undefined) checkAuthority(authority);
}

/** The manifest to create them with. */
export function secretList(secrets: Secrets, namespace: string): object {
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: Object.entries(secrets).map(([name, stringData]) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'Opaque',
      metadata: { name, namespace, labels: { 'app.kubernetes.io/part-of': 'sidecart' } },
      stringData,
    })),
  };
}

/** Reads what `kubectl get secrets -o json` prints. */
export function readSecrets(json: string): Secrets {
  const { items } = JSON.parse(json) as {
    items: { metadata: { name: string }; data?: Record<string, string> }[];
  };
  return Object.fromEntries(
    items.map(({ metadata, data = {} }) => [
      metadata.name,
      Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
      ),
    ]),
  );
}

function postgresAdmin(): Record<string, string> {
  const password = random();
  return { password, url: `postgres://postgres:${password}@postgres:5432/postgres` };
}

/** `broker` for the sidecars, and one for the server in the cluster; each fits the other if that one exists. */
function brokerSecrets({ broker: outside, brokerKind, kubectl }: SecretsWanted, existing: Secrets): Secrets {
  const kind = secretsOfBroker(brokerKind);
  const { broker } = existing;
  const server = existing[kind.server];
  checkKeys('broker', broker, ['url'], kubectl);
  if (broker) checkKind(broker.url ?? '', kind, brokerKind, kubectl);
  if (outside !== undefined) return broker ? {} : { broker: kind.forSidecars(outside) };
  if (broker && new URL(broker.url ?? '').hostname !== kind.server) return {};
  checkKeys(kind.server, server, ['password', 'auth.conf'], kubectl);
  const known =
    server?.password ?? (broker?.url ? decodeURIComponent(new URL(broker.url).password) : undefined);
  const password = known ?? random();
  return {
    ...(server ? {} : { [kind.server]: { password, ...kind.forServer(password) } }),
    ...(broker ? {} : { broker: kind.forSidecars(kind.inCluster(password)) }),
  };
}

function databaseUrl(template: string, user: string, database: string): string {
  const values: Record<string, string> = { user, password: random(), database };
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}

/** A service that joins a shop with an outside database must not be given one in the cluster, where there is none. */
function checkInCluster(services: SecretsWanted['services'], existing: Secrets): void {
  const outside = services.find(({ name }) => {
    const url = existing[`${name}-db`]?.url;
    return (
      url !== undefined &&
      URL.parse(url)?.hostname !== new URL(IN_CLUSTER_DATABASE.replaceAll(/[{}]/g, '')).hostname
    );
  });
  const joins = services.some(({ name, database }) => database && !existing[`${name}-db`]);
  if (outside === undefined || !joins) return;
  throw new ShopError(
    `the database of ${outside.name} is outside of the cluster, and nothing says where that of a new service is to be`,
    'repeat the --database, --broker and --ca that the first Secrets were made with',
  );
}

function checkTemplate(template: string): void {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const filled = template.replaceAll(/[{}]/g, '');
  const complete = [...names].sort().join() === 'database,password,user';
  if (complete && URL.canParse(filled) && /^postgres(ql)?:$/.test(new URL(filled).protocol)) return;
  throw new ShopError(
    '--database is not the URL of a PostgreSQL with {user}, {password} and {database} in it, each once',
    "write for example 'postgres://{user}:{password}@db.example.com:5432/{database}?sslmode=verify-full'",
  );
}

function checkBroker(url: string, { protocols, example }: BrokerSecrets): void {
  if (URL.canParse(url) && protocols.test(new URL(url).protocol)) return;
  throw new ShopError(
    `the URL of the broker is none such as ${example}`,
    'write it like that; @FILE reads it from a file',
  );
}

function checkAuthority(pem: string): void {
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return;
  throw new ShopError('what --ca names has no certificate in it', 'give a file with certificates as PEM');
}

function checkKind(url: string, { protocols }: BrokerSecrets, name: string, kubectl = 'kubectl'): void {
  if (URL.canParse(url) && protocols.test(new URL(url).protocol)) return;
  throw new ShopError(
    `Secret broker is for another broker than ${name}, which topology.yaml names`,
    `delete it to have it made anew: ${kubectl} delete secret broker`,
  );
}

function checkKeys(
  name: string,
  secret: Record<string, string> | undefined,
  keys: string[],
  kubectl = 'kubectl',
): void {
  const lacking = secret ? keys.filter((key) => !secret[key]) : [];
  if (lacking.length === 0) return;
  throw new ShopError(
    `Secret ${name} exists without ${lacking.map((key) => `key ${key}`).join(' and ')}`,
    `add what is missing, or delete the Secret to have it made: ${kubectl} delete secret ${name}`,
  );
}

const random = () => randomBytes(24).toString('hex');
