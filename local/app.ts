import { baseEnv, type Command } from './launch.ts';

export interface AppOptions {
  bundle: string;
  appId: string;
  /** `orders`, or `orders-2` where there are several; what a pod's name is on Kubernetes. */
  instance: string;
  namespace: string;
  port: number;
  sidecarHttpPort: number;
  apiToken: string;
  appToken: string;
  folder: string;
  /** On top of everything else, for one test or experiment. */
  extraEnv?: Record<string, string>;
}

/** Says how to start an app on the runner's own Node. */
export function appCommand(o: AppOptions): Command {
  return {
    file: process.execPath,
    // A small young generation: the default lets it grow by tens of megabytes that these services never need.
    args: ['--enable-source-maps', '--max-semi-space-size=8', o.bundle],
    env: {
      ...baseEnv(),
      NODE_ENV: 'production',
      PORT: String(o.port),
      HOST: '127.0.0.1',
      APP_ID: o.appId,
      HOSTNAME: o.instance,
      NAMESPACE: o.namespace,
      DAPR_HTTP_PORT: String(o.sidecarHttpPort),
      DAPR_API_TOKEN: o.apiToken,
      APP_API_TOKEN: o.appToken,
      ...o.extraEnv,
    },
    cwd: o.folder,
  };
}
