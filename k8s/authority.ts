import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writePrivateFile } from '../local/private-file.ts';
import { ShopError } from '../local/shop-error.ts';

const ROOT_DAYS = 3650;

/**
 * Makes a root and, signed by it, the issuer with which sentry signs the sidecars' certificates. The values file has
 * the issuer's key and never the root's. `renew` takes the root that is there.
 * @returns the paths of the values file and of the root's key.
 * @throws ShopError without openssl, or when a file would be overwritten.
 */
export function makeAuthority(o: { folder: string; days: number; renew: boolean }): {
  values: string;
  root: string;
} {
  const file = (name: string) => join(o.folder, name);
  const values = file('values.yaml');
  const [rootKey, rootCertificate] = [file('root.key'), file('root.crt')];
  if (!o.renew && (existsSync(values) || existsSync(rootKey)))
    throw new ShopError(
      `there is an authority in ${o.folder}`,
      '--renew makes a new issuer from its root; --out another folder',
    );
  if (o.renew && !(existsSync(rootKey) && existsSync(rootCertificate)))
    throw new ShopError(
      `there is no root.key with its root.crt in ${o.folder}`,
      'bring back the two files, or leave --renew out',
    );

  mkdirSync(o.folder, { recursive: true, mode: 0o700 });
  const work = mkdtempSync(join(o.folder, '.work-')); // only its owner can enter it
  try {
    if (!o.renew) {
      const made = selfSigned(work);
      writePrivateFile(rootKey, made.key);
      writePrivateFile(rootCertificate, made.certificate);
    }
    const issuer = signed(work, { days: o.days, rootKey, rootCertificate });
    const content = {
      dapr_sentry: {
        tls: {
          root: { certPEM: readFileSync(rootCertificate, 'utf8') },
          issuer: { certPEM: issuer.certificate, keyPEM: issuer.key },
        },
      },
    };
    writePrivateFile(values, stringify(content));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return { values, root: rootKey };
}

function selfSigned(work: string): { key: string; certificate: string } {
  const [key, certificate] = [join(work, 'root.key'), join(work, 'root.crt')];
  const config = join(work, 'root.cnf');
  writeFileSync(config, extensions('sidecart dapr root', 1));
  newKey(key);
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    key,
    '-config',
    config,
    '-days',
    `${ROOT_DAYS}`,
    '-out',
    certificate,
  );
  return { key: readFileSync(key, 'utf8'), certificate: readFileSync(certificate, 'utf8') };
}

function signed(
  work: string,
  o: { days: number; rootKey: string; rootCertificate: string },
): { key: string; certificate: string } {
  const [key, request, certificate] = ['key', 'csr', 'crt'].map((end) => join(work, `issuer.${end}`)) as [
    string,
    string,
    string,
  ];
  const config = join(work, 'issuer.cnf');
  writeFileSync(config, extensions('sidecart dapr issuer', 0));
  newKey(key);
  openssl('req', '-new', '-key', key, '-config', config, '-out', request);
  openssl(
    ...['x509', '-req', '-in', request, '-CA', o.rootCertificate, '-CAkey', o.rootKey, '-CAcreateserial'],
    ...['-CAserial', join(work, 'serial'), '-days', `${o.days}`, '-sha256'],
    ...['-extfile', config, '-extensions', 'authority', '-out', certificate],
  );
  return { key: readFileSync(key, 'utf8'), certificate: readFileSync(certificate, 'utf8') };
}

/** `below`: how many authorities may follow this one in a chain. */
function extensions(name: string, below: number): string {
  return `[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = ${name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:${below}
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
`;
}

function newKey(file: string): void {
  openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file);
}

function openssl(...args: string[]): void {
  const { error, status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    throw new ShopError('there is no openssl on the PATH', 'install openssl 1.1.1 or newer');
  if (error) throw error;
  if (status !== 0)
    throw new ShopError(`openssl ${args[0]} failed: ${stderr.trim()}`, 'look at what openssl says');
}
