import { ShopError } from '../local/shop-error.ts';
import type { Secrets, SecretsWanted } from './secrets.ts';

/** One thing that an option says of one Secret. */
interface Statement {
  option: string;
  secret: string;
  key: string;
  /** What the Secret holds if it was made with the option. */
  value: string;
  /** What of a value the option decides. */
  decided(value: string): string;
}

/**
 * @throws ShopError when a Secret exists and says something else than an option: whoever gives that means to switch over, and must
 *   not believe that it was done.
 */
export function checkAgreement(wanted: SecretsWanted, existing: Secrets): void {
  const disagreements = statements(wanted).flatMap(({ option, secret, key, value, decided }) => {
    const there = existing[secret]?.[key];
    if (!there || decided(there) === decided(value)) return [];
    return [{ secret, text: `  ${secret}: ${difference(there, value, option)}` }];
  });
  if (disagreements.length === 0) return;
  const secrets = disagreements.map(({ secret }) => secret);
  throw new ShopError(
    `Secrets that exist say something else than the options; nothing was changed:\n${disagreements.map(({ text }) => text).join('\n')}`,
    `to switch over, remove them and repeat this command, which makes them anew (those of a database with another password): ${wanted.kubectl ?? 'kubectl'} delete secret ${secrets.join(' ')}\n` +
      'To stay, leave the option out. What is in a database or a broker does not move by itself.',
  );
}

function statements({ services, database, broker, authority }: SecretsWanted): Statement[] {
  const found: Statement[] = [];
  if (database !== undefined)
    for (const { name } of services.filter((service) => service.database))
      for (const secret of [`${name}-db`, `${name}-db-owner`]) {
        const value = database.replace('{database}', name).replaceAll(/[{}]/g, '');
        // The option leaves the login to the Secret.
        found.push({ option: '--database', secret, key: 'url', value, decided: withoutLogin });
      }
  if (broker !== undefined)
    found.push({ option: '--broker', secret: 'broker', key: 'url', value: broker, decided: complete });
  if (authority !== undefined)
    found.push({
      option: '--ca',
      secret: 'backing-ca',
      key: 'ca.crt',
      value: authority,
      decided: (pem) => pem.trim(),
    });
  return found;
}

const PORTS: Partial<Record<string, string>> = {
  ...{ 'postgres:': '5432', 'postgresql:': '5432' },
  ...{ 'nats:': '4222', 'tls:': '4222' },
  ...{ 'redis:': '6379', 'rediss:': '6379' },
};

/** Host and port of a URL, or undefined for what is none. */
function host(text: string): string | undefined {
  const url = URL.parse(text);
  return url ? `${url.hostname}:${url.port || PORTS[url.protocol]}` : undefined;
}

function withoutLogin(text: string): string {
  const url = URL.parse(text);
  return url ? `${host(text)}${url.pathname}${url.search}` : text;
}

function complete(text: string): string {
  const url = URL.parse(text);
  return url ? `${url.protocol}//${url.username}:${url.password}@${withoutLogin(text)}` : text;
}

/** For who is to recognise them: hosts, never a login. */
function difference(there: string, value: string, option: string): string {
  const [old, given] = [host(there), host(value)];
  if (given === undefined) return `not what ${option} names`;
  if (old === given) return `${old} as ${option} says, but with another login or other settings`;
  return `${old ?? 'no URL'}, while ${option} says ${given}`;
}
