import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { baseEnv, type Command } from './launch.ts';
import { writePrivateFile } from './private-file.ts';
import { CONTROL_PLANE } from './tokens.ts';

export interface SentryOptions {
  program: string;
  /** Holds its configuration and the public half of the token key. */
  folder: string;
  /** Holds the certificate authority, which sentry makes itself when there is none. */
  caFolder: string;
  ports: { grpc: number; health: number };
  /** How long a sidecar's certificate is good for; default one hour. */
  certificateTtl?: string | undefined;
}

/** Where sentry looks up the key that tokens must be signed with. */
export const jwksFile = (folder: string) => join(folder, 'jwks.json');

/** The certificate that every sidecar trusts; there once sentry is ready. */
export const trustAnchors = (caFolder: string) => readFileSync(join(caFolder, 'ca.crt'), 'utf8');

/** Writes sentry's configuration and says how to start it. */
export function sentryCommand(o: SentryOptions): Command {
  dropExpiringAuthority(o.caFolder);
  mkdirSync(o.caFolder, { recursive: true, mode: 0o700 });
  const config = join(o.folder, 'config.yaml');
  writePrivateFile(config, stringify(sentryConfig(o)));
  const flags = {
    mode: 'standalone',
    config,
    'issuer-credentials': o.caFolder,
    'trust-domain': CONTROL_PLANE.trustDomain,
    'listen-address': '127.0.0.1',
    port: o.ports.grpc,
    'healthz-port': o.ports.health,
    // It would serve them to the whole network: the address to listen on is not used for them, nor for its health.
    'enable-metrics': 'false',
  };
  return {
    file: o.program,
    args: [...Object.entries(flags).map(([name, value]) => `--${name}=${value}`), '--log-as-json'],
    env: { ...baseEnv(), NAMESPACE: CONTROL_PLANE.namespace },
    cwd: o.folder,
  };
}

/** Without a validator sentry would give anybody on this machine any identity; naming one switches that off. */
function sentryConfig({ folder, certificateTtl }: SentryOptions) {
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: 'sentry' },
    spec: {
      mtls: {
        enabled: true,
        workloadCertTTL: certificateTtl ?? '1h',
        // A certificate begins so long before its issue, and is replaced halfway from there to its end: with as long a skew one that is good
        // for a minute would be replaced without a pause.
        allowedClockSkew: certificateTtl === undefined ? '1m' : '1s',
        controlPlaneTrustDomain: CONTROL_PLANE.trustDomain,
        tokenValidators: [{ name: 'jwks', options: { source: jwksFile(folder) } }],
      },
    },
  };
}

const RENEW_BEFORE_MS = 30 * 24 * 60 * 60 * 1000;

/** Sentry uses an authority until the day it expires. All sidecars start with it, so a new one can take its place here. */
function dropExpiringAuthority(caFolder: string): void {
  const file = join(caFolder, 'ca.crt');
  if (!existsSync(file)) return;
  const { validTo } = new X509Certificate(readFileSync(file));
  if (Date.parse(validTo) - Date.now() < RENEW_BEFORE_MS) rmSync(caFolder, { recursive: true });
}
