import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { serverCertificate } from './certificates.ts';
import { apply, type KubeObject } from './kubectl.ts';
import { movedTo, render, WORK_FOLDER } from './render.ts';

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
 * own, with TLS by a private authority. They keep nothing.
 */
export async function startStandIns(namespace: string): Promise<Backing> {
  const host = (name: string) => `${name}.${namespace}.svc`;
  const folder = join(WORK_FOLDER, 'stand-ins');
  const tls = await serverCertificate(folder, [host('postgres'), host('nats')]);
  const [admin, broker] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')];
  const secrets = {
    'postgres-admin': {
      password: admin,
      url: `postgres://postgres:${admin}@${host('postgres')}:5432/postgres`,
    },
    nats: { 'auth.conf': `authorization { user: "shop", password: "${broker}" }\n` },
    tls: { 'tls.crt': tls.certificate, 'tls.key': tls.key },
  };
  const objects = movedTo(namespace, (await render('k8s/overlays/local')).filter(isBacking)).map(withTls);
  await apply([
    ...Object.entries(secrets).map(([name, stringData]) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace },
      stringData,
    })),
    ...objects,
  ]);
  const brokerFile = join(folder, 'broker-url');
  writeFileSync(brokerFile, `tls://shop:${broker}@${host('nats')}:4222`, { mode: 0o600 });
  return {
    database: `postgres://{user}:{password}@${host('postgres')}:5432/{database}?sslmode=verify-full`,
    brokerFile,
    authorityFile: tls.authority,
  };
}

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
  if (object.metadata.name === 'postgres')
    container.args.push(
      '-c',
      'ssl=on',
      '-c',
      'ssl_cert_file=/tls/tls.crt',
      '-c',
      'ssl_key_file=/tls/tls.key',
    );
  return object;
}
