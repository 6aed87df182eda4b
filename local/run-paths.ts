import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder that holds `package.json`, `services/` and the rest. */
export const CHECKOUT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** Where a shop keeps what is its own. */
export interface RunPaths {
  root: string;
  logs: string;
  /** Everything below is readable by its owner only. */
  secrets: string;
  tokens: string;
  ca: string;
  postgres: string;
  nats: string;
  redis: string;
  /** What `npm run generate` would write for another broker than the table's. */
  generated: string;
  sentry: string;
  /** Per app: Dapr files that exist on this machine only. */
  resources: string;
  config: string;
  dist: string;
  /** Where the sidecars find each other. */
  names: string;
  /** What the simulators of APIs outside keep. */
  external: string;
  ports: string;
  ledger: string;
  lock: string;
  /** Written when everything is ready, gone when it is not. */
  shop: string;
}

/** Names every file and folder below a run folder; creates none. */
export function runPaths(runDir: string): RunPaths {
  const root = resolve(runDir);
  const at = (...names: string[]) => join(root, ...names);
  return {
    root,
    logs: at('logs'),
    secrets: at('secrets'),
    tokens: at('secrets', 'tokens'),
    ca: at('ca'),
    postgres: at('postgres'),
    nats: at('nats'),
    redis: at('redis'),
    generated: at('generated'),
    sentry: at('sentry'),
    resources: at('resources'),
    config: at('config'),
    dist: at('dist'),
    names: at('names'),
    external: at('external'),
    ports: at('ports.json'),
    ledger: at('ledger.json'),
    lock: at('runner.lock'),
    shop: at('shop.json'),
  };
}
