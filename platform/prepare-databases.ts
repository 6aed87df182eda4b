import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isTransientDbError } from '@sidecart/kit/db-errors';
import type { Logger } from '@sidecart/kit/log';
import pRetry, { AbortError } from 'p-retry';
import { z } from 'zod';
import { type DatabasePasswords, ensureDatabases, withSql } from './databases.ts';
import { PlatformError } from './platform-error.ts';

/** The environment of `platform databases`. */
export const databasesConfig = z.object({
  ADMIN_URL: z
    .url({ protocol: /^postgres(ql)?$/ })
    .describe(
      "the URL of the database server's superuser, e.g. postgres://postgres:...@postgres:5432/postgres",
    ),
  SECRETS_DIR: z
    .string()
    .min(1)
    .default('/secrets')
    .describe('the folder of the mounted Secrets, e.g. /secrets'),
  WAIT_SECONDS: z.coerce
    .number()
    .min(0)
    .default(120)
    .describe('how many seconds the database server may take to answer, e.g. 120'),
});

/**
 * Gives each service that has a Secret in the folder its database and its two roles; safe to repeat. Waits for a server
 * that is not up yet.
 * @throws PlatformError with the cure.
 */
export async function prepareDatabases(o: {
  config: z.infer<typeof databasesConfig>;
  log: Logger;
}): Promise<void> {
  const { config, log } = o;
  const databases = readPasswords(config.SECRETS_DIR);
  await waitForServer(config.ADMIN_URL, config.WAIT_SECONDS * 1000, log);
  await ensureDatabases(config.ADMIN_URL, databases);
  log.info({ databases: Object.keys(databases) }, 'databases and roles are there');
}

/**
 * The passwords in `<folder>/<service>-db/url` (application) and `<folder>/<service>-db-owner/url`, as a pod sees the
 * Secrets that it mounts. Each URL must name the database and the role that this program makes.
 */
export function readPasswords(folder: string): DatabasePasswords {
  const cure = `Mount the Secrets <service>-db and <service>-db-owner into ${folder}, a folder for each.`;
  if (!existsSync(folder)) throw new PlatformError(`${folder} does not exist`, cure);
  const services = readdirSync(folder)
    .filter((name) => name.endsWith('-db'))
    .map((name) => name.slice(0, -'-db'.length));
  if (services.length === 0) throw new PlatformError(`there is no <service>-db in ${folder}`, cure);
  return Object.fromEntries(
    services.map((service) => [
      service,
      {
        appPassword: passwordIn(folder, service, `${service}-db`, `${service}_app`),
        ownerPassword: passwordIn(folder, service, `${service}-db-owner`, `${service}_owner`),
      },
    ]),
  );
}

function passwordIn(folder: string, service: string, secret: string, role: string): string {
  const file = join(folder, secret, 'url');
  const cure = `Put postgres://${role}:PASSWORD@HOST:5432/${service} into Secret ${secret}, key url.`;
  if (!existsSync(file)) throw new PlatformError(`${file} does not exist`, cure);
  const login = loginIn(readFileSync(file, 'utf8').trim());
  if (login?.role !== role || login.database !== service || login.password === '')
    throw new PlatformError(
      `${file} is not the URL of role ${role} with a password, for database ${service}`,
      cure,
    );
  return login.password;
}

function loginIn(text: string): { role: string; password: string; database: string } | undefined {
  try {
    const { username, password, pathname } = new URL(text);
    const [role, secret, database] = [username, password, pathname.slice(1)].map(decodeURIComponent);
    return { role: role ?? '', password: secret ?? '', database: database ?? '' };
  } catch {
    return undefined; // not a URL, or a % in it that escapes nothing
  }
}

const EVERY_MS = 1_000;

async function waitForServer(url: string, timeoutMs: number, log: Logger): Promise<void> {
  const { host } = new URL(url);
  let told = '';
  const look = async () => {
    try {
      await withSql(url, (sql) => sql`SELECT 1`);
    } catch (err) {
      const { message } = err as Error;
      if (!isTransientDbError(err)) throw new AbortError(err as Error);
      if (told !== message) log.info({ host, reason: message }, 'waiting for the database server');
      told = message;
      throw err;
    }
  };
  try {
    await pRetry(look, {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: EVERY_MS,
      factor: 1,
      maxRetryTime: timeoutMs,
    });
  } catch (cause) {
    if (isTransientDbError(cause))
      throw new PlatformError(
        `the database server at ${host} did not answer within ${timeoutMs / 1000} s`,
        'Look whether it runs and is reachable under that name; give it longer with WAIT_SECONDS.',
        { cause },
      );
    throw new PlatformError(
      `the database server at ${host} cannot be used: ${(cause as Error).message}`,
      'Correct user, password, database and sslmode in ADMIN_URL. A server keeps the password it was first started with.',
      { cause },
    );
  }
}
