import { describe, expect, test } from 'vitest';
import { ShopError } from '../local/shop-error.ts';
import { missingSecrets, readSecrets, type Secrets, secretList } from './secrets.ts';

const services = [
  { name: 'gateway', database: false },
  { name: 'orders', database: true },
];
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
const make = (
  existing: Secrets = {},
  more: {
    services?: typeof services;
    database?: string;
    brokerKind?: string;
    broker?: string;
    authority?: string;
    kubectl?: string;
  } = {},
) => missingSecrets({ services, brokerKind: 'jetstream', ...more }, existing);

test('a new shop gets every Secret, for a database and a broker in the cluster', () => {
  const made = make();
  expect(Object.keys(made).sort()).toEqual([
    ...['broker', 'gateway-api-token', 'gateway-app-token', 'nats', 'orders-api-token', 'orders-app-token'],
    ...['orders-db', 'orders-db-owner', 'postgres-admin'],
  ]);
  expect(made['orders-db']?.url).toMatch(/^postgres:\/\/orders_app:[0-9a-f]{48}@postgres:5432\/orders$/);
  expect(made['orders-db-owner']?.url).toMatch(
    /^postgres:\/\/orders_owner:[0-9a-f]{48}@postgres:5432\/orders$/,
  );
  expect(made['postgres-admin']?.url).toContain(
    `:${made['postgres-admin']?.password}@postgres:5432/postgres`,
  );
  expect(made.nats?.['auth.conf']).toContain(`password: "${made.nats?.password}"`);
  expect(made.broker?.url).toBe(`nats://sidecart:${made.nats?.password}@nats:4222`);
  const values = Object.values(made).flatMap((secret) => Object.values(secret));
  expect(new Set(values).size).toBe(values.length);
});

test('an API outside has one Secret for each service that calls it, good for the simulator; a given one stays', () => {
  const externals = [{ name: 'bank', users: ['orders'], secret: ['api_key', 'webhook_secret'] }];
  const wanted = { services, externals, brokerKind: 'jetstream' };
  const made = missingSecrets(wanted, {});
  expect(made['orders-bank']).toEqual({
    api_key: expect.stringMatching(/^[0-9a-f]{48}$/),
    webhook_secret: expect.stringMatching(/^whsec_/),
  });
  const own = { ...made, 'orders-bank': { api_key: 'the bank gave it', webhook_secret: 'whsec_this_too' } };
  expect(missingSecrets(wanted, own)).toEqual({});
  expect(() => missingSecrets(wanted, { ...made, 'orders-bank': { api_key: 'k' } })).toThrow(
    /orders-bank exists without key webhook_secret/,
  );
});

test('what exists stays; what was added later is made', () => {
  const first = make();
  expect(make(first)).toEqual({});
  const later = make(first, { services: [...services, { name: 'carts', database: true }] });
  expect(Object.keys(later)).toEqual(['carts-api-token', 'carts-app-token', 'carts-db', 'carts-db-owner']);
});

test('a service that joins a shop with an outside database is not given one in the cluster', () => {
  const database = 'postgres://{user}:{password}@db.example.com/{database}';
  const first = make({}, { database });
  expect(make(first)).not.toHaveProperty('orders-db');
  const more = { services: [...services, { name: 'carts', database: true }] };
  expect(() => make(first, more)).toThrow(/database of orders is outside/);
  expect(make(first, { ...more, database })['carts-db']?.url).toContain('@db.example.com/carts');
});

test('of the two that know the password of the broker, a new one takes that of the other', () => {
  const { nats, broker, ...others } = make() as Record<'nats' | 'broker', Record<string, string>>;
  expect(make({ ...others, nats })).toEqual({ broker });
  expect(make({ ...others, broker })).toEqual({ nats });
});

test('for Redis, the sidecars have what their component takes in place of a URL', () => {
  const { redis, broker, ...others } = make({}, { brokerKind: 'redis' });
  expect(others).not.toHaveProperty('nats');
  const password = redis?.password ?? '';
  expect(redis?.['auth.conf']).toBe(`requirepass "${password}"\n`);
  expect(broker).toEqual({
    url: `redis://default:${password}@redis:6379`,
    host: 'redis:6379',
    username: 'default',
    password,
    tls: 'false',
  });
  expect(make({ ...others, broker: broker ?? {} }, { brokerKind: 'redis' })).toEqual({ redis });
  const outside = { brokerKind: 'redis', broker: 'rediss://shop:a%2Fb@redis.example.com' };
  expect(make({}, outside).broker).toEqual({
    url: outside.broker,
    host: 'redis.example.com:6379',
    username: 'shop',
    password: 'a/b',
    tls: 'true',
  });
});

test('the Secret of another broker is told, not taken', () => {
  const before = make();
  expect(() => make(before, { brokerKind: 'redis' })).toThrow(
    'Secret broker is for another broker than redis',
  );
});

test('with a database and a broker outside, there is nothing for servers in the cluster', () => {
  const made = make(
    {},
    {
      database: 'postgres://{user}:{password}@db.example.com:5432/{database}?sslmode=verify-full',
      broker: 'tls://shop:secret@nats.example.com:4222',
      authority: PEM,
    },
  );
  expect(made['orders-db']?.url).toMatch(/@db\.example\.com:5432\/orders\?sslmode=verify-full$/);
  expect(made.broker).toEqual({ url: 'tls://shop:secret@nats.example.com:4222' });
  expect(made['backing-ca']).toEqual({ 'ca.crt': PEM });
  expect(Object.keys(made)).not.toEqual(expect.arrayContaining(['nats']));
  expect(Object.keys(made)).not.toEqual(expect.arrayContaining(['postgres-admin']));
  expect(make(made)).not.toHaveProperty('nats');
});

test.each([
  [{ database: 'postgres://db.example.com/orders' }, '--database is not the URL'],
  [{ database: 'mysql://{user}:{password}@db/{database}' }, '--database is not the URL'],
  [{ broker: 'amqp://x' }, 'the URL of the broker is none such as tls://'],
  [{ brokerKind: 'redis', broker: 'nats://x' }, 'the URL of the broker is none such as rediss://'],
  [{ authority: 'a key' }, 'what --ca names has no certificate in it'],
  [{ brokerKind: 'kafka' }, 'the Secrets of the broker kafka'],
])('%j is refused, whatever Secrets exist', (given, said) => {
  expect(() => make({}, given)).toThrow(said);
  expect(() => make(make(), given)).toThrow(said);
});

describe('an option that a Secret which exists contradicts', () => {
  const outside = {
    database: 'postgres://{user}:{password}@db.example.com/{database}?sslmode=verify-full',
    broker: 'tls://shop:hushed@nats.example.com',
    authority: PEM,
  };
  const said = (existing: Secrets, given: Parameters<typeof make>[1]) => {
    try {
      make(existing, given);
    } catch (error) {
      if (!(error instanceof ShopError)) throw error;
      return `${error.message}\n${error.cure}`;
    }
    return '';
  };

  test('is told with the Secrets, both hosts and how to remove them, and without any login', () => {
    const text = said(make(), { ...outside, kubectl: 'kubectl --context=lab --namespace=shop' });
    expect(text).toContain('  orders-db: postgres:5432, while --database says db.example.com:5432\n');
    expect(text).toContain('  broker: nats:4222, while --broker says nats.example.com:4222\n');
    expect(text).toContain(
      'kubectl --context=lab --namespace=shop delete secret orders-db orders-db-owner broker\n',
    );
    expect(text).not.toContain('hushed');
    expect(text).not.toMatch(/[0-9a-f]{48}/);
  });

  test('is none when they say the same, also with the default port written out', () => {
    const first = make({}, outside);
    expect(make(first, outside)).toEqual({});
    const ports = {
      database: outside.database.replace('.com', '.com:5432').replace('postgres:', 'postgresql:'),
      broker: `${outside.broker}:4222`,
    };
    expect(make(first, ports)).toEqual({});
  });

  test('is none for a login that somebody else gave to a database', () => {
    const first = make({}, outside);
    const url = 'postgres://vault:other@db.example.com/orders?sslmode=verify-full';
    expect(make({ ...first, 'orders-db': { url } }, outside)).toEqual({});
  });

  test('is made when it is removed, as the cure says', () => {
    const { broker: _, 'orders-db': __, 'orders-db-owner': ___, ...rest } = make();
    expect(Object.keys(make(rest, outside)).sort()).toEqual([
      'backing-ca',
      'broker',
      'orders-db',
      'orders-db-owner',
    ]);
  });

  test.each([
    ['--database', 'orders-db: db.example.com:5432', { database: outside.database.replace('-full', '-ca') }],
    ['--database', 'no URL', { database: outside.database }, { 'orders-db': { url: 'orders' } }],
    ['--broker', 'another login', { broker: outside.broker.replace('hushed', 'new') }],
    ['--broker', 'other settings', { broker: outside.broker.replace('tls:', 'nats:') }],
    ['--ca', 'backing-ca: not what --ca names', { authority: PEM.replace('MIIB', 'MIIC') }],
  ])('%s: %s', (option, text, given, existing: Secrets = {}) => {
    const found = said({ ...make({}, outside), ...existing }, given);
    expect(found).toContain(option);
    expect(found).toContain(text);
  });
});

test('a Secret that somebody made without its key is told, not replaced', () => {
  expect(() => make({ 'orders-db': { URL: 'x' } })).toThrow('Secret orders-db exists without key url');
});

test('what is created is what kubectl reads back', () => {
  const list = secretList({ 'orders-db': { url: 'postgres://ä' } }, 'shop') as {
    items: { metadata: object; stringData: Record<string, string> }[];
  };
  const items = list.items.map(({ metadata, stringData }) => ({
    metadata,
    data: Object.fromEntries(
      Object.entries(stringData).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  }));
  expect(readSecrets(JSON.stringify({ items }))).toEqual({ 'orders-db': { url: 'postgres://ä' } });
});
