import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type External, externalSecret } from '../generator/topology.ts';
import type { DatabasePasswords } from '../platform/databases.ts';
import { newExternalSecret } from './external-secrets.ts';
import { writePrivateJson } from './private-file.ts';

/** Every password and token of a shop. Made once, kept until `--fresh`. */
export interface ShopSecrets {
  postgresPassword: string;
  brokerPassword: string;
  databases: DatabasePasswords;
  /** `apiToken` is asked for by the sidecar, `appToken` by the app. */
  apps: Record<string, { apiToken: string; appToken: string }>;
  /** What a service and an API outside know of each other, by the name of the Secret. */
  externals: Record<string, Record<string, string>>;
}

/** Reads the secrets of a shop and makes those that are missing, for a service added since the last start too. */
export function ensureSecrets(
  folder: string,
  services: { name: string; database: boolean }[],
  externals: Pick<External, 'name' | 'users' | 'secret'>[] = [],
): ShopSecrets {
  // No service can be called `shop`, so this is never the file of an app.
  const file = join(folder, 'shop.json');
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<ShopSecrets>) : {};
  const secrets: ShopSecrets = {
    postgresPassword: known.postgresPassword ?? random(),
    brokerPassword: known.brokerPassword ?? random(),
    databases: { ...known.databases },
    apps: { ...known.apps },
    externals: { ...known.externals },
  };
  for (const { name, database } of services) {
    secrets.apps[name] ??= { apiToken: random(), appToken: random() };
    if (database) secrets.databases[name] ??= { ownerPassword: random(), appPassword: random() };
  }
  for (const { name, users, secret } of externals)
    for (const user of users) {
      const own = externalSecret(user, name);
      secrets.externals[own] = { ...newExternalSecret(secret), ...secrets.externals[own] };
    }
  writePrivateJson(file, secrets);
  return secrets;
}

/**
 * What one app's sidecar can read, in the shape of Kubernetes Secrets: a name, and keys in it. A file for each app, with
 * nothing of another's; the owner's database URL is in none of them.
 */
export function appSecrets(o: {
  databaseUrl?: string;
  app: string;
  broker: Record<string, string>;
  /** Those for APIs outside, by name. */
  externals?: Record<string, Record<string, string>>;
}): Record<string, Record<string, string>> {
  return {
    broker: o.broker,
    ...o.externals,
    ...(o.databaseUrl === undefined ? {} : { [`${o.app}-db`]: { url: o.databaseUrl } }),
  };
}

const random = () => randomBytes(24).toString('hex');
