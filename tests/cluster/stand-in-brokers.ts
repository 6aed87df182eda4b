import { NATS_USER } from '../../local/nats.ts';
import { REDIS_USER } from '../../local/redis.ts';
import type { KubeObject } from './kubectl.ts';

/** What is of one kind of broker in a stand-in for one outside of the shop, with TLS. Its certificate is in /tls. */
interface StandInBroker {
  url(host: string, password: string): string;
  /** Makes the server of the local overlay take TLS only. */
  takeTls: { config(text: string): string; probe?(command: string): string };
  /** How a client without TLS logs in and asks whether it is let in, to which the answer would be PONG. */
  login(user: string, password: string): string;
  /** What such a client hears of a server with TLS. */
  refusal: RegExp;
}

const BROKERS: Record<string, StandInBroker> = {
  jetstream: {
    url: (host, password) => `tls://${NATS_USER}:${password}@${host}:4222`,
    takeTls: {
      config: (text) => `${text}\ntls { cert_file: "/tls/tls.crt", key_file: "/tls/tls.key" }\n`,
    },
    login: (user, pass) =>
      `CONNECT ${JSON.stringify({ verbose: false, user, pass, lang: 'test', version: '1' })}\r\nPING\r\n`,
    refusal: /"tls_required":true/,
  },
  redis: {
    url: (host, password) => `rediss://${REDIS_USER}:${password}@${host}:6379`,
    takeTls: {
      config: (text) =>
        text.replace(
          /^port (\d+)$/m,
          'port 0\ntls-port $1\ntls-cert-file /tls/tls.crt\ntls-key-file /tls/tls.key\ntls-auth-clients no',
        ),
      probe: (command) => command.replace('redis-cli ', 'redis-cli --tls --insecure '),
    },
    login: (user, password) => `AUTH ${user} ${password}\r\nPING\r\n`,
    refusal: /^(ECONNRESET)?$/,
  },
};

export function standInBroker(name: string): StandInBroker {
  const broker = BROKERS[name];
  if (!broker) throw new Error(`tests/cluster/stand-in-brokers.ts knows no broker ${name}: add it there`);
  return broker;
}

/** Changes the ConfigMap or the StatefulSet of a broker's server in the local overlay. */
export function takeTls({ takeTls: { config, probe } }: StandInBroker, object: KubeObject): void {
  if (object.kind === 'ConfigMap')
    for (const file of Object.keys(object.data)) object.data[file] = config(object.data[file]);
  if (object.kind !== 'StatefulSet' || !probe) return;
  const [container] = object.spec.template.spec.containers;
  for (const { exec } of [container.startupProbe, container.readinessProbe])
    exec.command = exec.command.map(probe);
}
