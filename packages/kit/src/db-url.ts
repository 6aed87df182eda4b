import { readFileSync } from 'node:fs';

/** How to speak TLS to the server; absent means not at all. */
export interface ServerTls {
  /** `require` only encrypts; `verify-ca` also demands a certificate of a known authority; `verify-full` also its host. */
  mode: 'require' | 'verify-ca' | 'verify-full';
  /** The authorities to trust, as PEM; without it those that Node trusts, NODE_EXTRA_CA_CERTS included. */
  ca?: string;
}

/**
 * Takes what PostgreSQL's own tools understand of TLS out of a database URL, with the same meaning: `sslmode=disable`,
 * which is the default here, `require`, `verify-ca` or `verify-full`, and `sslrootcert=PATH` or `system`. As with those
 * tools, `require` with a `sslrootcert` is `verify-ca`. The file is read now: who replaces it starts the program anew.
 *
 * @throws Error that says what to write instead, for every other mode and setting of TLS; it never quotes the URL.
 */
export function parseDatabaseUrl(given: string): { url: string; tls?: ServerTls } {
  // The error of the constructor would carry the password.
  if (!URL.canParse(given))
    throw new Error(
      'A database URL is postgres://user:password@host:port/database, percent-encoded, with one host',
    );
  const url = new URL(given);
  const rootCert = take(url, 'sslrootcert');
  const mode = take(url, 'sslmode') ?? (rootCert === 'system' ? 'verify-full' : undefined);
  const unknown = [...url.searchParams.keys()].find((name) => name.startsWith('ssl'));
  if (unknown !== undefined)
    throw new Error(`${unknown} is not supported in a database URL; use sslmode and sslrootcert`);

  switch (mode) {
    case undefined:
      if (rootCert !== undefined)
        throw new Error('sslrootcert says nothing without sslmode; add sslmode=verify-full');
      return { url: url.href };
    case 'disable':
      return { url: url.href };
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return { url: url.href, tls: serverTls(mode, rootCert) };
    case 'prefer':
    case 'allow':
      throw new Error(
        `sslmode=${mode} lets whoever sits in between switch TLS off; use verify-full, or disable where the network is trusted`,
      );
    default:
      throw new Error('sslmode must be disable, require, verify-ca or verify-full');
  }
}

function serverTls(mode: ServerTls['mode'], rootCert: string | undefined): ServerTls {
  if (rootCert === undefined) return { mode };
  if (rootCert === 'system') {
    if (mode !== 'verify-full') throw new Error('sslrootcert=system needs sslmode=verify-full');
    return { mode };
  }
  return { mode: mode === 'require' ? 'verify-ca' : mode, ca: readAuthorities(rootCert) };
}

function readAuthorities(file: string): string {
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Error(
      `sslrootcert=${file} cannot be read; name a file with the certificates of the authorities`,
      { cause },
    );
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new Error(`sslrootcert=${file} holds no certificate in PEM form`);
  return pem;
}

function take(url: URL, name: string): string | undefined {
  const value = url.searchParams.get(name) ?? undefined;
  url.searchParams.delete(name);
  return value;
}
