import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removePostgresData } from '../../local/postgres-place.ts';
import { type Server, startServer } from './server.ts';

/** Starts a PostgreSQL for the time of some work and leaves nothing of it behind, not even after Ctrl-C in the middle. */
export async function withServer(
  o: {
    settings?: Record<string, string>;
    /** Ends what the work itself has started. */
    leave?: () => Promise<void>;
  },
  work: (server: Server, folder: string, stop: AbortSignal) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-bench-'));
  const server = await startServer(folder, o.settings);
  let leaving: Promise<void> | undefined;
  const leave = () => {
    leaving ??= (async () => {
      await o.leave?.();
      await server.stop();
      removePostgresData(join(folder, 'data'));
      rmSync(folder, { recursive: true, force: true });
    })();
    return leaving;
  };
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      stop.abort();
      // The work may wait for a cell that takes long.
      void leave().then(() => process.exit(130));
    });
  try {
    await work(server, folder, stop.signal);
  } finally {
    await leave();
    if (stop.signal.aborted) process.exit(130);
  }
}
