import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { freePort } from '../../../local/ports.ts';
import { startPostgres } from '../../../local/postgres.ts';
import { testAuthority } from '../../../tests/certificates.ts';
import { postgresTls } from '../../../tests/postgres-tls.ts';
import { connectDatabase, type Database, isIntegrityViolation, isTransientDbError } from './db.ts';
import { openPostgres } from './db-socket.ts';
import { migrateDatabase } from './migrate.ts';

// A server of its own: these tests kill it and freeze it. It speaks TLS to those who ask for it.
let dir: string;
let authorities: string;
let options: Parameters<typeof startPostgres>[0];
let server: Awaited<ReturnType<typeof startPostgres>>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sidecart-kit-db-'));
  options = {
    dataDir: join(dir, 'data'),
    port: await freePort(),
    superuserPassword: 'secret',
    logFile: join(dir, 'postgres.log'),
  };
  const authority = testAuthority('db.int.test');
  authorities = join(dir, 'ca.pem');
  await writeFile(authorities, authority.cert);
  options.settings = postgresTls(options.dataDir, authority.issue('localhost'));
  server = await startPostgres(options);
});

afterAll(async () => {
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

// A fault that nobody can catch is how postgres.js ends a process when a connection is lost.
const uncaught: unknown[] = [];
const note = (err: unknown) => void uncaught.push(err);
process.on('uncaughtException', note);
process.on('unhandledRejection', note);
afterEach(() => expect(uncaught.splice(0)).toEqual([]));

type Way = 'plain' | 'TLS';
const WAYS: Way[] = ['plain', 'TLS'];

function urlOf(way: Way): string {
  if (way === 'plain') return server.url;
  return `${server.url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert=${authorities}`;
}

function connect(overrides: Partial<Parameters<typeof connectDatabase>[0]> = {}): Database {
  const database = connectDatabase({ url: server.url, applicationName: 'kit-test', ...overrides });
  onTestFinished(() => database.close());
  return database;
}

async function timed(work: PromiseLike<unknown>): Promise<{ err: unknown; ms: number }> {
  const startedAt = performance.now();
  const err = await Promise.resolve(work).then(
    () => undefined,
    (e: unknown) => e,
  );
  return { err, ms: performance.now() - startedAt };
}

/** As kill -9 of everything: what clients see is a reset. */
async function killServer(): Promise<void> {
  const pids = [server.pid, ...childrenOf(server.pid)];
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await sleep(200);
}

function childrenOf(pid: number): number[] {
  return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(Number);
}

test('queries, fragments, values, prepared statements, savepoints and cursors work as with postgres.js', async () => {
  const { db, sql: pg } = connect();
  await pg`create table things (id int primary key, name text)`;
  await pg`insert into things ${pg([
    { id: 1, name: 'a' },
    { id: 2, name: 'b' },
  ])}`;
  const where = pg`where id in ${pg([1, 2])} and name ${pg`<> ${'b'}`}`;
  expect(await pg`select name from things ${where}`.values()).toEqual([['a']]);
  expect(await pg.unsafe('select name from things where id = $1', [2])).toMatchObject([{ name: 'b' }]);
  const byId = db
    .select({ n: sql<string>`name` })
    .from(sql`things`)
    .where(sql`id = ${sql.placeholder('id')}`);
  expect(await byId.prepare('by_id').execute({ id: 1 })).toEqual([{ n: 'a' }]);
  await db.transaction(async (tx) => {
    await tx.execute(sql`insert into things values (3, 'c')`);
    await tx
      .transaction(async (inner) => {
        await inner.execute(sql`insert into things values (4, 'd')`);
        inner.rollback();
      })
      .catch(() => {});
  });
  const ids = await pg.begin(async (tx) => {
    const seen: unknown[] = [];
    for await (const rows of tx`select id from things order by id`.cursor(2))
      seen.push(...rows.map((r) => r.id));
    return seen;
  });
  expect(ids).toEqual([1, 2, 3]);
  await expect(pg`select id from things`.cursor(2)[Symbol.asyncIterator]().next()).rejects.toThrow(
    /transaction/,
  );
  expect(await pg.begin((tx) => [tx`select 1 as a`, tx`select 2 as a`])).toMatchObject([
    [{ a: 1 }],
    [{ a: 2 }],
  ]);
  expect(() => pg.listen('x', () => {})).toThrow(/not offered/);
});

test('a failed transaction leaves nothing and gives its connection back', async () => {
  const { db, sql: pg } = connect({ max: 1 });
  await pg`create table once (id int primary key)`;
  for (let i = 0; i < 3; i++) {
    const { err } = await timed(
      db.transaction(async (tx) => {
        await tx.execute(sql`insert into once values (1)`);
        await tx.execute(sql`insert into once values (1)`);
      }),
    );
    expect(isIntegrityViolation(err)).toBe(true);
    expect(isTransientDbError(err)).toBe(false);
  }
  expect(await pg`select count(*)::int as n from once`).toMatchObject([{ n: 0 }]);
});

test('a statement whose failure nobody looked at fails the transaction, even after its last look', async () => {
  const { db, sql: pg } = connect();
  await pg`create table unseen (id int primary key)`;
  await pg`insert into unseen values (1)`;
  for (const pause of [0, 50]) {
    const { err } = await timed(
      db.transaction(async (tx) => {
        await tx.execute(sql`insert into unseen values (${2 + pause})`);
        Promise.resolve(tx.execute(sql`insert into unseen values (1)`)).catch(() => {});
        await sleep(pause);
      }),
    );
    expect(isIntegrityViolation(err)).toBe(true);
  }
  expect(await pg`select id from unseen`).toEqual([{ id: 1 }]);
});

test('a branch of a failed transaction that goes on changes nothing any more', async () => {
  const { db, sql: pg } = connect({ max: 1 });
  await pg`create table branches (id int primary key)`;
  let late: Promise<unknown> = Promise.resolve();
  const { err } = await timed(
    db.transaction(async (tx) => {
      late = (async () => {
        await tx.execute(sql`insert into branches values (1)`);
        await sleep(100);
        await tx.execute(sql`insert into branches values (2)`);
      })();
      await Promise.all([late, tx.execute(sql`select 1 / 0`)]);
    }),
  );
  expect(isIntegrityViolation(err)).toBe(false);
  expect((await timed(late)).err).toMatchObject({ cause: { message: expect.stringContaining('is over') } });
  expect(await pg`select id from branches`).toEqual([]);
});

test('nor does a savepoint of it, begun before or after its end', async () => {
  const { db, sql: pg } = connect({ max: 1 });
  await pg`create table late_savepoints (id int primary key)`;
  const late: Promise<unknown>[] = [];
  const { err } = await timed(
    db.transaction(async (tx) => {
      const insert = (n: number) =>
        tx.transaction((inner) => inner.execute(sql`insert into late_savepoints values (${n})`));
      await insert(1);
      late.push(
        sleep(100).then(() => insert(2)),
        tx.transaction(async (inner) => {
          await sleep(100);
          await inner.execute(sql`insert into late_savepoints values (3)`);
        }),
      );
      for (const one of late) one.catch(() => {});
      await sleep(20);
      throw new Error('given up');
    }),
  );
  expect(err).toMatchObject({ message: 'given up' });
  const next = db.transaction(async (tx) => {
    await tx.execute(sql`insert into late_savepoints values (4)`);
    await sleep(200);
    await tx.execute(sql`insert into late_savepoints values (5)`);
  });
  for (const one of late) expect((await timed(one)).err).toBeDefined();
  await next;
  expect(await pg`select id from late_savepoints`).toEqual([{ id: 4 }, { id: 5 }]);
});

describe('a statement that fails after its first rows', () => {
  const FAILS = 'SELECT 1 / (4 - i) FROM generate_series(1, 10) AS i';
  const NEXT = 'SELECT n FROM generate_series(1, 2) AS n';
  const next = [{ n: 1 }, { n: 2 }];

  test('leaves no holes in the next answer, on its own or in a transaction', async () => {
    const { sql: client } = connect({ max: 1 });
    await expect(client.unsafe(FAILS)).rejects.toThrow('division by zero');
    expect([...(await client.unsafe(NEXT))]).toEqual(next);
    const failed = client.begin((tx) => Promise.all([tx.unsafe(FAILS), tx.unsafe(NEXT)]));
    const behind = client.unsafe(NEXT);
    await expect(failed).rejects.toThrow('division by zero');
    expect([...(await behind)]).toEqual(next);
    const saved = client.begin(async (tx) => {
      await tx.savepoint((inner) => inner.unsafe(FAILS)).catch(() => {});
      return tx.unsafe(NEXT);
    });
    expect([...(await saved)]).toEqual(next);
  });

  test('control: with postgres.js alone it does', async () => {
    const alone = openPostgres(server.url, { max: 1, connect_timeout: 2 });
    onTestFinished(() => alone.end());
    await expect(alone.unsafe(FAILS)).rejects.toThrow('division by zero');
    expect([...(await alone.unsafe(NEXT))]).toEqual([undefined, undefined, undefined, ...next]);
  });
});

test('a savepoint takes its own failure back, and only that', async () => {
  const { db, sql: pg } = connect();
  await pg`create table nested (id int primary key)`;
  await db.transaction(async (tx) => {
    await tx.execute(sql`insert into nested values (1)`);
    const { err } = await timed(tx.transaction((inner) => inner.execute(sql`insert into nested values (1)`)));
    expect(isIntegrityViolation(err)).toBe(true);
    await tx.transaction((inner) => inner.execute(sql`insert into nested values (2)`));
  });
  expect(await pg`select id from nested`).toEqual([{ id: 1 }, { id: 2 }]);
});

test('who asked is told of each commit, and of nothing else', async () => {
  const { db, sql: pg, onCommit, committed } = connect();
  const told: string[] = [];
  onCommit(() => told.push('commit'));
  await db.transaction(async (tx) => {
    await tx.transaction((inner) => inner.execute(sql`select 1`));
    expect(told).toEqual([]);
  });
  expect(told).toEqual(['commit']);
  await timed(db.transaction((tx) => tx.execute(sql`select 1 / 0`)));
  await pg`select 1`;
  expect(told).toEqual(['commit']);
  committed();
  expect(told).toEqual(['commit', 'commit']);
});

test('more work than connections is done in turn; work that gets none in 5 s is told so', async () => {
  const { sql: pg } = connect({ max: 2 });
  const rows = await Promise.all(Array.from({ length: 50 }, (_, i) => pg`select ${i}::int as i`));
  expect(rows.map(([row]) => row?.i)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  const held = [1, 2].map(() =>
    pg.begin((tx) => Promise.all([tx`select pg_sleep(2)`, tx`select pg_sleep(2)`, tx`select pg_sleep(2)`])),
  );
  const { err, ms } = await timed(pg`select 1`);
  expect(err).toMatchObject({ code: 'POOL_TIMEOUT' });
  expect(isTransientDbError(err)).toBe(true);
  expect(ms).toBeLessThan(5900);
  await Promise.all(held);
  await pg`select 1`;
});

test('a statement, a lock and an idle transaction have their time, each a fault that may pass', async () => {
  const { db, sql: pg } = connect({ statementTimeoutMs: 400, lockTimeoutMs: 200 });
  expect((await timed(pg`select pg_sleep(5)`)).err).toMatchObject({ code: '57014' });

  await pg`create table locked (id int)`;
  const waiting = await pg.begin(async (tx) => {
    await tx`lock table locked`;
    return timed(pg`select * from locked`);
  });
  expect(waiting.err).toMatchObject({ code: '55P03' });

  const idle = await timed(
    db.transaction(async (tx) => {
      await tx.execute(sql`insert into locked values (1)`);
      await sleep(1500); // past idle_in_transaction_session_timeout, twice the statement's
      await tx.execute(sql`insert into locked values (2)`);
    }),
  );
  expect(isTransientDbError(idle.err)).toBe(true);
  expect(await pg`select * from locked`).toEqual([]);
});

test.each(WAYS)(
  'a transaction whose connection dies fails, and none of its statements reaches another one (%s)',
  async (way) => {
    const { db, sql: pg } = connect({ url: urlOf(way), max: 1 });
    await pg`drop table if exists survivors`;
    await pg`create table survivors (name text)`;
    let pid = 0;
    const dying = timed(
      db.transaction(async (tx) => {
        [{ pid }] = (await tx.execute(sql`select pg_backend_pid() as pid`)) as unknown as [{ pid: number }];
        await sleep(300); // the connection goes here
        await tx.execute(sql`insert into survivors values ('of the dead transaction')`).catch(() => {});
        await sleep(200);
        await tx.execute(sql`insert into survivors values ('of the dead transaction')`);
      }),
    );
    await sleep(100);
    const other = connect();
    await other.sql`select pg_terminate_backend(${pid})`;
    await sleep(50);
    const next = timed(
      db.transaction(async (tx) => {
        await tx.execute(sql`insert into survivors values ('of the next')`);
        await sleep(600);
      }),
    );
    expect(isTransientDbError((await dying).err)).toBe(true);
    expect((await next).err).toBeUndefined();
    expect(await other.sql`select name from survivors`).toEqual([{ name: 'of the next' }]);
  },
);

test.each(WAYS)(
  'a transaction whose connection dies in the middle of a statement with parameters ends, and frees its place (%s)',
  async (way) => {
    const { db, sql: pg } = connect({ url: urlOf(way), max: 1 });
    const admin = connect({ max: 1 });
    for (let i = 0; i < 2; i++) {
      const work = timed(
        db.transaction(async (tx) => {
          await tx.execute(sql`select 1`);
          await tx.execute(sql`select ${1}::int, pg_sleep(2)`);
        }),
      );
      await vi.waitUntil(
        async () =>
          (
            await admin.sql`
              select pg_terminate_backend(pid) from pg_stat_activity
              where query like '%pg_sleep(2)%' and state = 'active' and pid <> pg_backend_pid()`
          ).length > 0,
      );
      const { err, ms } = await work;
      expect(isTransientDbError(err)).toBe(true);
      expect(ms).toBeLessThan(1500);
    }
    expect(await pg`select 1 as one`).toMatchObject([{ one: 1 }]);
  },
);

test.each(WAYS)(
  'away: every query fails at once, in and out of transactions; back: the first one succeeds (%s)',
  async (way) => {
    const { db, sql: pg } = connect({ url: urlOf(way) });
    await Promise.all(Array.from({ length: 20 }, () => pg`select 1`)); // five idle connections

    const inFlight = timed(pg`select pg_sleep(2)`);
    const inTransaction = timed(
      db.transaction(async (tx) => {
        await tx.execute(sql`select 1`);
        await sleep(400);
        await tx.execute(sql`select 1`);
      }),
    );
    await sleep(200);
    await killServer();
    for (const { err } of [await inFlight, await inTransaction]) expect(isTransientDbError(err)).toBe(true);

    const burst = await Promise.all(Array.from({ length: 200 }, () => timed(pg`select 1`)));
    for (const { err, ms } of burst) {
      expect(isTransientDbError(err)).toBe(true);
      expect(ms).toBeLessThan(1000);
    }
    expect(isTransientDbError((await timed(db.transaction((tx) => tx.execute(sql`select 1`)))).err)).toBe(
      true,
    );

    server = await startPostgres(options);
    const back = await Promise.all(
      Array.from({ length: 50 }, () => timed(db.transaction((tx) => tx.execute(sql`select 1`)))),
    );
    expect(back.filter(({ err }) => err !== undefined)).toEqual([]);
  },
);

test.each(WAYS)('an orderly restart is no different (%s)', async (way) => {
  const { sql: pg } = connect({ url: urlOf(way) });
  await Promise.all(Array.from({ length: 20 }, () => pg`select 1`));
  const inFlight = timed(pg`select pg_sleep(2)`);
  await sleep(100);
  await server.stop();
  expect(isTransientDbError((await inFlight).err)).toBe(true);
  server = await startPostgres(options);
  for (let i = 0; i < 10; i++) expect((await timed(pg`select 1`)).err).toBeUndefined();
});

test.each(WAYS)('a frozen server is given up in time, and used again when it thaws (%s)', async (way) => {
  const { sql: pg } = connect({ url: urlOf(way), statementTimeoutMs: 500, connectTimeoutS: 1 });
  await Promise.all(Array.from({ length: 10 }, () => pg`select 1`));
  const pids = [server.pid, ...childrenOf(server.pid)];
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    const all = await Promise.all(Array.from({ length: 20 }, () => timed(pg`select 1`)));
    for (const { err, ms } of all) {
      expect(isTransientDbError(err)).toBe(true);
      expect(ms).toBeLessThan(6000);
    }
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
  expect((await timed(pg`select 1`)).err).toBeUndefined();
});

test('a server that lets in and says nothing does not hold a query for ever', async () => {
  const net = await import('node:net');
  const mute = net.createServer(() => {});
  const rude = net.createServer((socket) => socket.end());
  for (const odd of [mute, rude]) {
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    const { port } = odd.address() as { port: number };
    const { sql: pg } = connect({ url: `postgres://u:p@127.0.0.1:${port}/d`, connectTimeoutS: 0.5 });
    const { err, ms } = await timed(pg`select 1`);
    expect(isTransientDbError(err)).toBe(true);
    expect(ms).toBeLessThan(1000);
    odd.close();
  }
});

test('a server that hangs up right after the login, before the first answer', async () => {
  const net = await import('node:net');
  const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]); // AuthenticationOk, ReadyForQuery
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(welcome);
      socket.once('data', () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const { db, sql: pg } = connect({ url: `postgres://u:p@127.0.0.1:${port}/d` });
  const work = [
    pg`select 1`,
    pg`select ${1}::int`,
    db.transaction((tx) => tx.execute(sql`select ${1}::int`)),
  ];
  for (const { err } of await Promise.all(work.map(timed))) expect(isTransientDbError(err)).toBe(true);
  server.close();
});

test.each(WAYS)(
  'a server that lets nobody in answers those who queue for a connection too (%s)',
  async (way) => {
    // As one that is just starting: it says so, and hangs up in the breath after that.
    const { sql: pg } = connect({ url: urlOf(way).replace(/\/postgres(?=$|\?)/, '/missing'), max: 1 });
    const again = pg`select 1`.then(undefined, () => pg`select 1`);
    const all = await Promise.all([timed(again), ...Array.from({ length: 10 }, () => timed(pg`select 1`))]);
    for (const { err, ms } of all) {
      expect(err).toMatchObject({ message: expect.stringContaining('"missing" does not exist') });
      expect(ms).toBeLessThan(4000);
    }
  },
);

test('a wrong password says so and is not taken for an outage', async () => {
  const url = server.url.replace('secret', 'wrong');
  const { sql: pg } = connect({ url });
  const { err } = await timed(pg`select 1`);
  expect(err).toMatchObject({ code: '28P01' });
  expect(isTransientDbError(err)).toBe(false);
});

test('TLS is really used, and as the URL says', async () => {
  const isSecure = async (url: string) => {
    const { sql: pg } = connect({ url });
    const [row] = await pg`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
    return row?.ssl;
  };
  const onName = server.url.replace('127.0.0.1', 'localhost');
  expect(await isSecure(server.url)).toBe(false);
  expect(await isSecure(urlOf('TLS'))).toBe(true);
  expect(await isSecure(`${onName}?sslmode=require`)).toBe(true);
  expect(await isSecure(`${server.url}?sslmode=verify-ca&sslrootcert=${authorities}`)).toBe(true);
});

test('a connection outside of the pool, as of the relay, speaks TLS too, hears, and is told of its end', async () => {
  const heard: string[] = [];
  const ended = Promise.withResolvers<void>();
  const own = openPostgres(urlOf('TLS'), {
    max: 1,
    connect_timeout: 2,
    onclose: () => ended.resolve(),
    ...{ onnotify: (channel: string) => heard.push(channel) },
  });
  const [me] = await own`select ssl, pid from pg_stat_ssl where pid = pg_backend_pid()`;
  expect(me?.ssl).toBe(true);
  await own`listen news`;
  const { sql: admin } = connect();
  await admin`select pg_notify('news', '')`;
  await own`select 1`;
  expect(heard).toEqual(['news']);
  await admin`select pg_terminate_backend(${me?.pid})`;
  await ended.promise;
  await own.end();
});

test('migrations run over TLS', async () => {
  const folder = join(dir, 'migrations');
  await mkdir(join(folder, 'meta'), { recursive: true });
  const entries = [{ idx: 0, version: '7', when: 1, tag: '0000', breakpoints: true }];
  const journal = { version: '7', dialect: 'postgresql', entries };
  await writeFile(join(folder, 'meta', '_journal.json'), JSON.stringify(journal));
  const create = 'create table migrated as select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  await writeFile(join(folder, '0000.sql'), create);
  await migrateDatabase(urlOf('TLS'), folder);
  expect(await connect().sql`select ssl from migrated`).toEqual([{ ssl: true }]);
});

test.each([
  [
    'another host than in its certificate',
    () => urlOf('TLS').replace('localhost', '127.0.0.1'),
    /by a name that/,
  ],
  ['an authority that is not known', () => urlOf('TLS').replace(/&sslrootcert.*/, ''), /name the authority/],
  ['the same with verify-ca', () => `${server.url}?sslmode=verify-ca`, /name the authority/],
])('%s is refused, says why, and is not taken for an outage', async (_what, url, message) => {
  const { sql: pg } = connect({ url: url() });
  const { err } = await timed(pg`select 1`);
  expect(String(err)).toMatch(message);
  expect(isTransientDbError(err)).toBe(false);
  expect(JSON.stringify(err)).not.toContain('secret');
});

test.each(WAYS)(
  'closing waits for what is under way, and nothing can be asked afterwards (%s)',
  async (way) => {
    const { sql: pg, close } = connect({ url: urlOf(way) });
    const slow = timed(pg`select pg_sleep(0.3)`);
    await sleep(50);
    await close();
    expect((await slow).err).toBeUndefined();
    expect((await timed(pg`select 1`)).err).toMatchObject({ code: 'CONNECTION_ENDED' });
    const other = connect();
    await sleep(100);
    const left = await other.sql`
    select count(*)::int as n from pg_stat_activity where application_name = 'kit-test' and pid <> pg_backend_pid()`;
    expect(left).toMatchObject([{ n: 0 }]);
  },
);
