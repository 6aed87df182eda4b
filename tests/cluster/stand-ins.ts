import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { render } from '../../k8s/manifests.ts';
import { testAuthority } from '../certificates.ts';
import { apply, type KubeObject } from './kubectl.ts';
import { overlayWith, WORK_FOLDER } from './overlay.ts';

/** A database and a broker outside of the shop, as its operator describes them to `npm run k8s -- secrets`. */
export interface Backing {
  /** URL with {user}, {password} and {database} in it. */
  database: string;
  /** A file with the URL of the broker. */
  brokerFile: string;
  /** A file with the certificate of the authority that both present. */
  authorityFile: string;
}

/**
 * Starts stand-ins for what production has elsewhere: the database and the broker of the local overlay, in a namespace of their
 * own, with TLS by a private authority and not without. They keep nothing.
 */
export async function startStandIns(namespace: string): Promise<Backing> {
  const host = (name: string) => `${name}.${namespace}.svc`;
  const folder = join(WORK_FOLDER, 'stand-ins');
  const authority = testAuthority('stand-ins');
  const { cert, key } = authority.issue(host('postgres'), host('nats'));
  const [admin, broker] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')];
  const secrets = {
    'postgres-admin': {
      password: admin,
      url: `postgres://postgres:${admin}@${host('postgres')}:5432/postgres`,
    },
    nats: { 'auth.conf': `authorization { user: "shop", password: "${broker}" }\n` },
    tls: { 'tls.crt': cert, 'tls.key': key, 'pg_hba.conf': WITH_TLS_ONLY },
  };
  const objects = render(overlayWith('local', { namespace })).filter(isBacking).map(withTls);
  await apply([
    ...Object.entries(secrets).map(([name, stringData]) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace },
      stringData,
    })),
    ...objects,
  ]);
  mkdirSync(folder, { recursive: true });
  const brokerFile = join(folder, 'broker-url');
  const authorityFile = join(folder, 'ca.crt');
  writeFileSync(authorityFile, authority.cert);
  writeFileSync(brokerFile, `tls://shop:${broker}@${host('nats')}:4222`, { mode: 0o600 });
  return {
    database: `postgres://{user}:{password}@${host('postgres')}:5432/{database}?sslmode=verify-full`,
    brokerFile,
    authorityFile,
  };
}

/** Whoever comes over the network is let in with TLS only. A port-forward ends inside of the pod: that is the test's own way. */
const WITH_TLS_ONLY = `
local all all trust
host all postgres 127.0.0.1/32 scram-sha-256
host all postgres ::1/128 scram-sha-256
hostssl all all all scram-sha-256
`;

const isBacking = ({ kind, metadata }: KubeObject): boolean =>
  ['database', 'broker'].includes(metadata.labels?.['app.kubernetes.io/component'] ?? '') ||
  (kind === 'ConfigMap' && metadata.name.startsWith('nats-'));

function withTls(object: KubeObject): KubeObject {
  if (object.kind === 'ConfigMap')
    object.data['nats.conf'] += '\ntls { cert_file: "/tls/tls.crt", key_file: "/tls/tls.key" }\n';
  if (object.kind !== 'StatefulSet') return object;
  const [container] = object.spec.template.spec.containers;
  container.volumeMounts.push({ name: 'tls', mountPath: '/tls', readOnly: true });
  object.spec.template.spec.volumes.push(
    { name: 'tls', secret: { secretName: 'tls', defaultMode: 0o440 } },
    { name: 'data', emptyDir: {} },
  );
  delete object.spec.volumeClaimTemplates;
  // The data counts as the pod's own now, which is evicted when it has too much, and comes back with nothing.
  container.resources.limits['ephemeral-storage'] = '1Gi';
  if (object.metadata.name === 'postgres')
    container.args.push(
      '-c',
      'ssl=on',
      '-c',
      'ssl_cert_file=/tls/tls.crt',
      '-c',
      'ssl_key_file=/tls/tls.key',
      '-c',
      'hba_file=/tls/pg_hba.conf',
    );
  return object;
}
