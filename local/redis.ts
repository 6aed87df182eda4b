import { baseEnv, type Command } from './launch.ts';
import { writePrivateFile } from './private-file.ts';

export interface RedisOptions {
  program: string;
  /** Holds the configuration and the stored messages. */
  folder: string;
  port: number;
  password: string;
}

/** Redis' own name for the one user that `requirepass` is about. */
export const REDIS_USER = 'default';

/** Address of the broker with its login. */
export function redisUrl(port: number, password: string): string {
  return `redis://${REDIS_USER}:${encodeURIComponent(password)}@127.0.0.1:${port}`;
}

/** Writes the broker's configuration and says how to start it. */
export function redisCommand(o: RedisOptions): Command {
  writeRedisConfig(o);
  return { file: o.program, args: [configFile(o.folder)], env: baseEnv(), cwd: o.folder };
}

/** Writes the configuration, which counts from the next start on. */
export function writeRedisConfig(o: Omit<RedisOptions, 'program'>): void {
  writePrivateFile(configFile(o.folder), redisConfig(o));
}

/** Where the broker keeps its streams. */
export const redisStore = (folder: string) => `${folder}/appendonlydir`;

const configFile = (folder: string) => `${folder}/redis.conf`;

/**
 * The broker acknowledges a message only when it is on the disk (`appendfsync always`): an outbox row is deleted on that
 * word. No snapshots beside the append-only file, and never an old message thrown away for a new one.
 */
function redisConfig(o: Omit<RedisOptions, 'program'>): string {
  return `bind 127.0.0.1
port ${o.port}
protected-mode yes
daemonize no
dir ${JSON.stringify(o.folder)}
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
save ""
maxmemory-policy noeviction
requirepass ${JSON.stringify(o.password)}
`;
}
