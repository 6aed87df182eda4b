import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the superuser of the PostgreSQL that the integration tests share. */
    pgUrl: string;
  }
}

/** PostgreSQL itself knows no prepared transactions unless it is told to; other users of a server may. */
const SETTINGS = { max_connections: '200', max_prepared_transactions: '5' };

/**
 * One PostgreSQL for all integration tests: the embedded one, or with SIDECART_TEST_DB=testcontainers the image
 * `postgres:18-bookworm` (needs a Docker engine that has it or can pull it).
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (process.env.SIDECART_TEST_DB === 'testcontainers') return startContainer(project);
  const { startPostgres } = await import('../local/postgres.ts');
  const { removePostgresData } = await import('../local/postgres-place.ts');
  const { freePort } = await import('../local/ports.ts');
  const dir = await mkdtemp(join(tmpdir(), 'sidecart-test-pg-'));
  const server = await startPostgres({
    dataDir: join(dir, 'data'),
    port: await freePort(),
    superuserPassword: randomBytes(12).toString('hex'),
    logFile: join(dir, 'postgres.log'),
    settings: SETTINGS,
  });
  project.provide('pgUrl', server.url);
  // A run that is interrupted, by Ctrl-C, does not come to its end. What is under /var/lib/sidecart goes with the next server's start.
  const interrupted = () => {
    try {
      process.kill(server.pid, 'SIGQUIT');
    } catch {
      // It has ended by itself.
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', interrupted);
  return async () => {
    await server.stop();
    process.off('exit', interrupted);
    removePostgresData(join(dir, 'data'));
    await rm(dir, { recursive: true, force: true });
  };
}

async function startContainer(project: TestProject): Promise<() => Promise<void>> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const container = await new PostgreSqlContainer('postgres:18-bookworm')
    .withCommand([
      'postgres',
      ...Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ])
    .start();
  project.provide('pgUrl', container.getConnectionUri());
  return async () => {
    await container.stop();
  };
}
