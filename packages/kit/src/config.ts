import { z } from 'zod';

const port = z.coerce.number().int().min(1).max(65535);
const token = z.string().min(16);

/** What every app gets by environment. The description of a key is its cure: it is printed when the value is at fault. */
export const baseConfig = z.object({
  PORT: port.describe('the port this app listens on, e.g. 8103'),
  HOST: z.string().min(1).default('127.0.0.1').describe('the address to listen on; 0.0.0.0 in a container'),
  APP_ID: z.string().min(1).describe('the Dapr app id, e.g. orders'),
  HOSTNAME: z
    .string()
    .min(1)
    .optional()
    .describe('the name of this instance among its replicas, e.g. orders-1; a pod has its own'),
  NAMESPACE: z.string().min(1).default('shop').describe('the namespace of the app, e.g. shop'),
  DAPR_HTTP_PORT: port.describe("the sidecar's HTTP port, e.g. 3500"),
  DAPR_API_TOKEN: token.describe('the token the sidecar demands, at least 16 characters'),
  APP_API_TOKEN: token.describe('the token the sidecar sends to the app, at least 16 characters'),
  LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe('trace, debug, info, warn, error, fatal or silent'),
});

export interface ConfigFault {
  name: string;
  fault: string;
  cure: string;
}

/** Lists every fault of the configuration, never a value of it. */
export class ConfigError extends Error {
  readonly faults: ConfigFault[];

  constructor(faults: ConfigFault[]) {
    super(`Configuration: ${faults.map((f) => `${f.name} ${f.fault}; set it to ${f.cure}`).join(' | ')}`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/**
 * Reads the configuration once. Names that the schema does not have are ignored (an environment has many).
 *
 * @example
 * const config = loadConfig(baseConfig.extend({ PAGE: z.coerce.number().describe('a page size') }), process.env);
 * @throws ConfigError naming all faults at once.
 */
export function loadConfig<S extends z.ZodObject>(
  schema: S,
  env: Record<string, string | undefined>,
): Readonly<z.infer<S>> {
  // An empty value is what a missing one looks like in many shells and in Kubernetes.
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = schema.safeParse(given);
  if (result.success) return Object.freeze(result.data);
  throw new ConfigError(
    result.error.issues.map((issue) => {
      const name = issue.path.map(String).join('.');
      return {
        name,
        fault: name in given ? `is not usable (${issue.message})` : 'is missing',
        cure: schema.shape[name]?.description ?? 'a value of the right form',
      };
    }),
  );
}
