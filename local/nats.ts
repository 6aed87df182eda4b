import { baseEnv, type Command } from './launch.ts';
import { writePrivateFile } from './private-file.ts';

export interface NatsOptions {
  program: string;
  /** Holds the configuration and the stored messages. */
  folder: string;
  port: number;
  password: string;
}

export const NATS_USER = 'sidecart';

/** Address of the broker with its login, as the sidecars take it. */
export function natsUrl(port: number, password: string): string {
  return `nats://${NATS_USER}:${encodeURIComponent(password)}@127.0.0.1:${port}`;
}

/** Writes the broker's configuration and says how to start it. */
export function natsCommand(o: NatsOptions): Command {
  writeNatsConfig(o);
  return { file: o.program, args: ['--config', configFile(o.folder)], env: baseEnv(), cwd: o.folder };
}

/** Writes the configuration; a running broker takes it up at SIGHUP. */
export function writeNatsConfig(o: Omit<NatsOptions, 'program'>): void {
  writePrivateFile(configFile(o.folder), natsConfig(o));
}

/** Where the broker keeps its streams. */
export const natsStore = (folder: string) => `${folder}/store`;

const configFile = (folder: string) => `${folder}/nats.conf`;

/** The broker acknowledges a message only when it is on the disk (`sync_interval`): an outbox row is deleted on that word. */
function natsConfig(o: Omit<NatsOptions, 'program'>): string {
  return `server_name: sidecart
listen: "127.0.0.1:${o.port}"
max_payload: 4MB
jetstream {
  store_dir: ${JSON.stringify(natsStore(o.folder))}
  sync_interval: always
  max_memory_store: 64MB
}
authorization {
  user: ${JSON.stringify(NATS_USER)}
  password: ${JSON.stringify(o.password)}
}
`;
}
