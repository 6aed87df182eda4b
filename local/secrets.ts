import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabasePasswords } from '../platform/databases.ts';
import { writePrivateJson } from './private-file.ts';

/** Every password and token of a shop. Made once, kept until `--fresh`. */
export interface ShopSecrets {
  postgresPassword: string;
  brokerPassword: string;
  databases: DatabasePasswords;
  /** `apiToken` is asked for by the sidecar, `appToken` by the app. */
  apps: Record<string, { apiToken: string; appToken: string }>;
}

/** Reads the secrets of a shop and makes those that are missing, for a service added since the last start too. */
export function ensureSecrets(folder: string, services: { name: string; database: boolean }[]): ShopSecrets {
  // No service can be called `shop`, so this is never the file of an app.
  const file = join(folder, 'shop.json');
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<ShopSecrets>) : {};
  const secrets: ShopSecrets = {
    postgresPassword: known.postgresPassword ?? random(),
    brokerPassword: known.brokerPassword ?? random(),
    databases: { ...known.databases },
    apps: { ...known.apps },
  };
  for (const { name, database } of services) {
    secrets.apps[name] ??= { apiToken: random(), appToken: random() };
    if (database) secrets.databases[name] ??= { ownerPassword: random(), appPassword: random() };
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
}): Record<string, Record<string, string>> {
  return {
    broker: o.broker,
    ...(o.databaseUrl === undefined ? {} : { [`${o.app}-db`]: { url: o.databaseUrl } }),
  };
}

const random = () => randomBytes(24).toString('hex');
