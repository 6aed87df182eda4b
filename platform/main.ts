import { loadConfig } from '@sidecart/kit/config';
import { createLogger } from '@sidecart/kit/log';
import { keepStreams, streamsConfig } from './keep-streams.ts';
import { PlatformError } from './platform-error.ts';
import { databasesConfig, prepareDatabases } from './prepare-databases.ts';

const log = createLogger({ service: 'platform', level: process.env.LOG_LEVEL || 'info' });

const COMMANDS: Record<string, () => Promise<void>> = {
  databases: () => prepareDatabases({ config: loadConfig(databasesConfig, process.env), log }),
  streams: () => keepStreams({ config: loadConfig(streamsConfig, process.env), log }),
};

/** What is done to database and broker before and beside the services: `platform databases`, `platform streams`. */
async function main(args: string[]): Promise<void> {
  const name = args.join(' ');
  // As process 1 a signal without a handler would do nothing at all. Only keeping streams can be called done.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      log.info({ signal }, 'stopped');
      process.exit(name === 'streams' ? 0 : 143);
    });
  try {
    const command = COMMANDS[name];
    if (!command)
      throw new PlatformError(
        `there is no command ${JSON.stringify(name)}`,
        'Give one: databases (makes databases and roles, then ends) or streams (keeps the streams of the broker, for ever).',
      );
    await command();
  } catch (err) {
    const cure = err instanceof PlatformError ? err.cure : 'Correct what err says.';
    log.fatal({ err, cure }, 'failed');
    process.exit(1);
  }
}

await main(process.argv.slice(2));
