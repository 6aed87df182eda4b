/** The programs that the shop runs beside its own services, and can get itself. */
export type ProgramName = 'daprd' | 'sentry' | 'natsServer';

export const PROGRAMS: readonly ProgramName[] = ['daprd', 'sentry', 'natsServer'];

/** What is wanted of a program, wherever it comes from. */
export interface Wanted {
  /** File name of the executable. */
  readonly binary: string;
  /** Semver range of the versions that this project runs on. */
  readonly accepts: string;
  /** Environment variable that names a ready executable. */
  readonly pathEnv: string;
}

/** What is wanted of one program, and where it can come from. The only place where versions stand. */
export interface Pin extends Wanted {
  /** `newest`: the newest release that `accepts` allows; `exact`: the version of `builds`. */
  readonly downloads: 'newest' | 'exact';
  /** Version that a build from source gives. */
  readonly builds: string;
  /** Go module and the package in it to build. */
  readonly module: string;
  readonly package: string;
  /** Oldest Go that its go.mod allows. */
  readonly go: string;
  readonly tags?: string;
  /** How many packages a build compiles at most, without the components that nobody here uses: `go list -deps`, rounded. */
  readonly packages?: number;
  /** Go variable that the program prints as its version; without it a build calls itself `edge`. */
  readonly versionVariable?: string;
  /** Environment variable for, and default of, the address under which `v<version>/<archive>` is found. */
  readonly releasesEnv: string;
  readonly releases: string;
}

const dapr = {
  accepts: '>=1.18.2 <1.19',
  // A release of 1.18.3 or later is better than the build: it survives a message with a `traceid` that is
  // not a string, on which 1.18.2 panics. 1.18.3 itself cannot be built, as one of its modules is gone.
  downloads: 'newest',
  builds: '1.18.2',
  module: 'github.com/dapr/dapr',
  go: '1.26.5',
  versionVariable: 'github.com/dapr/dapr/pkg/buildinfo.version',
  releasesEnv: 'SIDECART_DAPR_RELEASES',
  releases: 'https://github.com/dapr/dapr/releases/download',
} as const;

export const PINS: Readonly<Record<ProgramName, Pin>> = {
  daprd: {
    ...dapr,
    binary: 'daprd',
    package: './cmd/daprd',
    tags: 'allcomponents',
    packages: 1600,
    pathEnv: 'SIDECART_DAPRD',
  },
  sentry: { ...dapr, binary: 'sentry', package: './cmd/sentry', pathEnv: 'SIDECART_SENTRY' },
  natsServer: {
    binary: 'nats-server',
    accepts: '2.15.2',
    downloads: 'exact',
    builds: '2.15.2',
    module: 'github.com/nats-io/nats-server/v2',
    package: '.',
    go: '1.26.0',
    pathEnv: 'SIDECART_NATS_SERVER',
    releasesEnv: 'SIDECART_NATS_RELEASES',
    releases: 'https://github.com/nats-io/nats-server/releases/download',
  },
};

/** A program that only the system's own packages have: it is found or it is not. */
export type InstalledName = 'redisServer';

export const INSTALLED: Readonly<Record<InstalledName, Wanted & { readonly install: string }>> = {
  redisServer: {
    binary: 'redis-server',
    // Debian's is 7; what a stream tells of its groups came with it.
    accepts: '>=7.0.0 <9',
    pathEnv: 'SIDECART_REDIS_SERVER',
    install: 'install it with `apt-get install redis-server` (on a Mac: `brew install redis`)',
  },
};

/** The program of a broker. */
export type ServerName = 'natsServer' | InstalledName;

export const wantedOf = (name: ProgramName | InstalledName): Wanted =>
  name === 'redisServer' ? INSTALLED[name] : PINS[name];

/**
 * The component registrations that a daprd built here keeps, by file name under `cmd/daprd/components`
 * without `.go`. Dapr has some 130, most of them clients of clouds that this project never calls; without
 * them the sidecar is half the size and needs two thirds of the memory. Whoever adds a component of another
 * kind adds its file here, which makes the next start build again. SIDECART_DAPRD_FULL=1 keeps all.
 */
export const DAPR_COMPONENTS: readonly string[] = [
  'bindings_cron',
  'bindings_http',
  'bindings_localstorage',
  'middleware_http_bearer',
  'middleware_http_oauth2',
  'middleware_http_oauth2clientcredentials',
  'middleware_http_ratelimit',
  'middleware_http_routeralias',
  'middleware_http_routerchecker',
  'middleware_http_uppercase',
  'nameresolution_kubernetes',
  'nameresolution_mdns',
  'nameresolution_nameformat',
  'nameresolution_sqlite',
  'pubsub_in-memory',
  'pubsub_jetstream',
  'pubsub_redis',
  'secretstores_kubernetes',
  'secretstores_local_env',
  'secretstores_local_file',
  'state_in-memory',
  'state_postgres',
  'state_redis',
  'state_sqlite',
];
