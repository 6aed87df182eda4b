import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brokerServer } from '../../generator/kubernetes.ts';
import { secretsOfBroker } from '../../k8s/broker-secrets.ts';
import { render } from '../../k8s/manifests.ts';
import { newExternalSecret } from '../../local/external-secrets.ts';
import { testAuthority } from '../certificates.ts';
import { topology } from './cluster-shop.ts';
import { apply, type KubeObject } from './kubectl.ts';
import { overlayWith, WORK_FOLDER } from './overlay.ts';
import { standInBroker, takeTls } from './stand-in-brokers.ts';

const BROKER = brokerServer(topology.broker).name;

/** A database, a broker and a payment provider outside of the shop, as its operator describes them. */
export interface Backing {
  /** URL with {user}, {password} and {database} in it. */
  database: string;
  /** A file with the URL of the broker. */
  brokerFile: string;
  /** A file with the certificate of the authority that database and broker present. */
  authorityFile: string;
  /** The provider's address, and what it and the shop know of each other: the content of Secret `payments-provider`. */
  provider: { url: string; secret: Record<string, string> };
}

/**
 * Starts stand-ins for what production has elsewhere, those of the local overlay, in a namespace of their own: the database and the
 * broker, with TLS by a private authority and not without, and the provider, which sends no webhooks from there. They keep nothing.
 */
export async function startStandIns(namespace: string, images: Record<string, string>): Promise<Backing> {
  const host = (name: string) => `${name}.${namespace}.svc`;
  const folder = join(WORK_FOLDER, 'stand-ins');
  const port = topology.externals.find(({ name }) => name === 'provider')?.simulatorPort;
  const authority = testAuthority('stand-ins');
  const { cert, key } = authority.issue(host('postgres'), host(BROKER));
  const [admin, broker] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')];
  const secrets = {
    'postgres-admin': {
      password: admin,
      url: `postgres://postgres:${admin}@${host('postgres')}:5432/postgres`,
    },
    [BROKER]: { password: broker, ...secretsOfBroker(topology.broker).forServer(broker) },
    'payments-provider': newExternalSecret(['api_key', 'webhook_secret']),
    tls: { 'tls.crt': cert, 'tls.key': key, 'pg_hba.conf': WITH_TLS_ONLY },
  };
  const objects = render(overlayWith('local', { images, namespace }, 'stand-ins-overlay'))
    .filter(isBacking)
    .map(withTls)
    .map(withoutWebhooks);
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
  writeFileSync(brokerFile, standInBroker(topology.broker).url(host(BROKER), broker), { mode: 0o600 });
  return {
    database: `postgres://{user}:{password}@${host('postgres')}:5432/{database}?sslmode=verify-full`,
    brokerFile,
    authorityFile,
    provider: { url: `http://${host('provider')}:${port}`, secret: secrets['payments-provider'] },
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
  ['database', 'broker', 'simulator'].includes(metadata.labels?.['app.kubernetes.io/component'] ?? '') ||
  (kind === 'ConfigMap' && metadata.name.startsWith(`${BROKER}-`));

/** The gateway of the shop lets nobody in from here. */
function withoutWebhooks(object: KubeObject): KubeObject {
  if (object.kind !== 'Deployment') return object;
  const [container] = object.spec.template.spec.containers;
  container.env = container.env.filter(({ name }: { name: string }) => name !== 'WEBHOOK_URL');
  return object;
}

function withTls(object: KubeObject): KubeObject {
  if (object.metadata.name !== 'postgres') takeTls(standInBroker(topology.broker), object);
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
