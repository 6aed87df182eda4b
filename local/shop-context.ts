import type { Topology } from '../generator/topology.ts';
import type { Ledger } from './ledger.ts';
import type { BrokerTasks, LocalBroker } from './local-broker.ts';
import type { Instance } from './plan.ts';
import type { RunPaths } from './run-paths.ts';
import type { ShopSecrets } from './secrets.ts';
import type { TokenMint } from './tokens.ts';

/** Everything that the parts of one start have to know of each other. */
export interface ShopContext {
  topology: Topology;
  instances: Instance[];
  broker: LocalBroker;
  brokerTasks: BrokerTasks;
  ports: Record<string, number>;
  paths: RunPaths;
  secrets: ShopSecrets;
  programs: { daprd: string; sentry: string; broker: string };
  /** The folder with `components/` and, but for a test's own, `dapr/`. */
  generated: string;
  daprDir: string;
  appEnv: Partial<Record<string, Record<string, string>>>;
  certificateTtl: string | undefined;
  ledger: Ledger;
  mint: TokenMint;
  say(text: string): void;
}

/** The port of that name. Every name comes from the same plan, so a missing one is a fault of the runner itself. */
export function portOf(context: Pick<ShopContext, 'ports'>, name: string): number {
  const port = context.ports[name];
  if (port === undefined) throw new Error(`no port was chosen for ${name}`);
  return port;
}

/** The tokens of an app and its sidecar. */
export function tokensOf(context: Pick<ShopContext, 'secrets'>, service: string) {
  const tokens = context.secrets.apps[service];
  if (!tokens) throw new Error(`no tokens were made for ${service}`);
  return tokens;
}
