import { connectDatabase } from '@sidecart/kit/db';
import type { ComponentState } from '@sidecart/kit/health';
import { testDeps } from '@sidecart/kit/testing';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { createDelayedRelease, type DelayedOptions, type DelayedRelease } from './delayed.ts';
import {
  catalog,
  eventually,
  type Fixture,
  openFixture,
  outbox,
  pause,
  placed,
  remind,
  reserve,
} from './fixture.ts';
import { openElsewhere } from './fixture-dead-rows.ts';
import { on } from './handler.ts';

let fixture: Fixture;
const movers: DelayedRelease[] = [];
beforeAll(async () => {
  fixture = await openFixture('delayed');
});
beforeEach(() => fixture.clear());
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(movers.splice(0).map((mover) => mover.stop()));
});
afterAll(() => fixture?.close());

async function start(o: Pick<DelayedOptions, 'handlers' | 'pollMs'> = {}): Promise<DelayedRelease> {
  const mover = createDelayedRelease({ ...testDeps('orders'), database: fixture.database, pollMs: 50, ...o });
  movers.push(mover);
  await mover.start();
  return mover;
}

const transaction: Fixture['database']['db']['transaction'] = (work) => fixture.database.db.transaction(work);
const released = () => fixture.admin<{ key: string; n: number; seq: number; topic: string }[]>`
  SELECT msg_key AS key, (payload->>'n')::int AS n, key_seq::int AS seq, topic FROM outbox ORDER BY id`;
const waiting = () => fixture.admin<{ key: string; due: number }[]>`
  SELECT msg_key AS key, extract(epoch FROM due_at - created_at)::float8 AS due FROM outbox_delayed ORDER BY due_at, id`;
const databaseNow = async () => {
  const [row] = await fixture.admin<{ now: Date }[]>`SELECT clock_timestamp() AS now`;
  return row?.now ?? new Date(0);
};
/** Time passes for every delayed message. */
const hurry = (by: string) => fixture.admin`UPDATE outbox_delayed SET due_at = due_at - ${by}::interval`;

describe('when', () => {
  test('delayMs is counted by the database; notBefore is the instant that it says', async () => {
    const at = new Date((await databaseNow()).getTime() + 3_600_000);
    await transaction(async (tx) => {
      await outbox.publish(tx, { ...placed('a', 1), delayMs: 90_000 }, { ...placed('b', 1), notBefore: at });
    });
    const [a, b] = await waiting();
    expect(a).toMatchObject({ key: 'a' });
    expect(a?.due).toBeGreaterThan(89);
    expect(a?.due).toBeLessThanOrEqual(90);
    const [row] = await fixture.admin<
      { due: Date }[]
    >`SELECT due_at AS due FROM outbox_delayed WHERE msg_key = ${b?.key ?? ''}`;
    expect(row?.due).toEqual(at);
    await start();
    await pause(200);
    expect(await released()).toEqual([]);
    await hurry('2 minutes');
    await eventually(async () => expect((await released()).map(({ key }) => key)).toEqual(['a']));
  });

  test.each([-3_600_000, 3_600_000])(
    'a clock of this process that is %i ms off changes nothing',
    async (off) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + off });
      await transaction(async (tx) => {
        await outbox.publish(
          tx,
          { ...placed('soon', 1), delayMs: 300 },
          { ...placed('later', 1), delayMs: 600_000 },
          { ...placed('instant', 1), notBefore: new Date((await databaseNow()).getTime() + 600) },
        );
      });
      await start();
      expect(await released()).toEqual([]);
      await eventually(async () =>
        expect((await released()).map(({ key }) => key)).toEqual(['soon', 'instant']),
      );
      expect((await waiting()).map(({ key }) => key)).toEqual(['later']);
    },
  );

  test('control: an instant worked out by that clock is off with it', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
    await transaction((tx) =>
      outbox.publish(tx, { ...placed('k', 1), notBefore: new Date(Date.now() + 600_000) }),
    );
    await start();
    await eventually(async () => expect(await released()).toHaveLength(1));
  });

  test('what cannot be a time is refused before anything is written', async () => {
    const refused = (timing: { notBefore?: Date; delayMs?: number }) =>
      expect(transaction((tx) => outbox.publish(tx, { ...placed('k', 1), ...timing }))).rejects;
    await refused({ notBefore: new Date(), delayMs: 1 }).toThrow('give one of them');
    for (const date of ['never', '+010000-01-01T00:00:00Z', '0000-12-31T23:59:59Z'])
      await refused({ notBefore: new Date(date) }).toThrow('give a valid Date, of the years 1 to 9999');
    for (const delayMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      await refused({ delayMs }).toThrow('give whole milliseconds');
    expect(await waiting()).toEqual([]);
  });
});

describe('order', () => {
  test('a delayed message has no number and holds up nothing of its key; it is in the order of its release', async () => {
    await transaction((tx) =>
      outbox.publish(tx, { ...placed('k', 1), delayMs: 3_600_000 }, placed('k', 2), {
        ...placed('k', 3),
        delayMs: 0,
      }),
    );
    expect(await released()).toMatchObject([{ n: 2, seq: 1 }]);
    await start();
    await eventually(async () => expect(await released()).toHaveLength(2));
    await transaction((tx) => outbox.publish(tx, placed('k', 4)));
    await hurry('2 hours');
    await eventually(async () => expect(await released()).toHaveLength(4));
    expect((await released()).map(({ n, seq }) => [n, seq])).toEqual([
      [2, 1],
      [3, 2],
      [4, 3],
      [1, 4],
    ]);
  });

  test('those of a key are released as they become due, by however many movers', async () => {
    const total = 900;
    await transaction((tx) =>
      outbox.publish(
        tx,
        ...Array.from({ length: total }, (_, i) => ({
          ...placed(`k${i % 9}`, i),
          delayMs: (total - i) * 1000,
        })),
      ),
    );
    await hurry('1 hour');
    await Promise.all([start(), start(), start()]);
    await eventually(async () => expect(await released()).toHaveLength(total));
    const last = new Map<string, { n: number; seq: number }>();
    for (const { key, n, seq } of await released()) {
      const before = last.get(key);
      expect(seq).toBe((before?.seq ?? 0) + 1);
      if (before) expect(n, 'the later one was due first').toBeLessThan(before.n);
      last.set(key, { n, seq });
    }
  });

  test('of several movers one is at work at a time: the others wait for no lock', async () => {
    const soon = Array.from({ length: 20 }, (_, i) => ({ ...placed(`k${i}`, i), delayMs: 0 }));
    await transaction((tx) => outbox.publish(tx, ...soon));
    const held = () => fixture.admin`
      SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await fixture.admin.begin(async (tx) => {
      await tx`LOCK TABLE outbox`;
      await Promise.all([start(), start(), start()]);
      await eventually(async () => expect(await held()).toHaveLength(1));
      await pause(300); // the others look again and again
      expect(await held()).toHaveLength(1);
    });
    await eventually(async () => expect(await released()).toHaveLength(20));
  });

  test('of times long past too: what a look at the latest does not see is not overtaken', async () => {
    const mover = await start({ pollMs: 2000 });
    await pause(100); // it has looked from the start, and does not again for a second
    const now = await databaseNow();
    const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000);
    await transaction((tx) =>
      outbox.publish(
        tx,
        { ...placed('k', 2), notBefore: ago(1) },
        { ...placed('k', 1), notBefore: ago(3600) },
        { ...placed('other', 1), notBefore: ago(1) },
      ),
    );
    mover.nudge();
    await eventually(async () => expect(await waiting()).toEqual([]));
    const keys = (await released()).filter(({ key }) => key === 'k');
    expect(keys.map(({ n, seq }) => [n, seq])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  test('a transaction that holds the counter of a key holds up that key only', async () => {
    const commit = Promise.withResolvers<void>();
    const wrote = Promise.withResolvers<void>();
    await transaction((tx) => outbox.publish(tx, placed('held', 0), placed('free', 0)));
    const holding = transaction(async (tx) => {
      await outbox.publish(tx, placed('held', 1));
      wrote.resolve();
      await commit.promise;
    });
    await wrote.promise;
    await transaction((tx) =>
      outbox.publish(
        tx,
        { ...placed('held', 2), delayMs: 0 },
        { ...placed('free', 2), delayMs: 0 },
        { ...placed('new', 2), delayMs: 0 },
      ),
    );
    await start();
    await eventually(async () =>
      expect((await released()).map(({ key }) => key)).toEqual(['held', 'free', 'free', 'new']),
    );
    commit.resolve();
    await holding;
    await eventually(async () => expect(await waiting()).toEqual([]));
    expect((await released()).filter(({ key }) => key === 'held').map(({ n, seq }) => [n, seq])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
  });
});

test('a key whose counter is held, with more due messages than one look takes, does not hide the others', async () => {
  const due = (key: string, n: number) => ({ ...placed(key, n), delayMs: 0 });
  const numbers = Array.from({ length: 250 }, (_, i) => i + 1);
  await transaction((tx) => outbox.publish(tx, placed('held', 0)));
  await transaction((tx) => outbox.publish(tx, ...numbers.map((n) => due('held', n))));
  await transaction((tx) => outbox.publish(tx, due('free', 1)));
  await transaction(async (tx) => {
    await tx.execute(`SELECT FROM outbox_sequence WHERE msg_key = 'held' FOR UPDATE`);
    await start();
    await eventually(async () => expect((await released()).map(({ key }) => key)).toEqual(['held', 'free']));
  });
  await eventually(async () => expect(await waiting()).toEqual([]));
  const moved = (await released()).filter(({ key }) => key === 'held').map(({ n, seq }) => [n, seq]);
  expect(moved).toEqual([0, ...numbers].map((n) => [n, n + 1]));
});

test('each goes where it belongs: a topic, a queue, this service itself', async () => {
  await transaction(async (tx) => {
    await outbox.publish(tx, { ...placed('k', 1), delayMs: 0 });
    await outbox.send(
      tx,
      { ...reserve('k', 2), delayMs: 0 },
      { ...remind('k', 3), delayMs: 0 },
      remind('k', 4),
    );
  });
  await start();
  await eventually(async () => expect(await waiting()).toEqual([]));
  expect((await released()).map(({ topic }) => topic).sort()).toEqual(['commands.inventory', 'orders']);
  const local =
    await fixture.admin`SELECT (payload->>'n')::int AS n, key_seq::int AS seq FROM outbox_local ORDER BY id`;
  expect([...local]).toEqual([
    { n: 4, seq: 1 },
    { n: 3, seq: 2 },
  ]);
});

test.each([
  ['no', false, 0, []],
  ['control: an', true, 1, [{ topic: 'self', key: 'k' }]],
])(
  'for a local handler that wants %s order: whether it is numbered, and leaves a counter of its key for ever',
  async (_, ordered, seq, counters) => {
    await start({ handlers: { Remind: on(catalog.Remind.schema, async () => {}, { ordered }) } });
    await transaction((tx) => outbox.send(tx, { ...remind('k', 1), delayMs: 0 }));
    const local = () => fixture.admin`SELECT msg_key AS key, key_seq::int AS seq FROM outbox_local`;
    await eventually(async () => expect([...(await local())]).toEqual([{ key: 'k', seq }]));
    expect(await waiting()).toEqual([]);
    expect([...(await fixture.admin`SELECT topic, msg_key AS key FROM outbox_sequence`)]).toEqual(counters);
  },
);

test('what is rolled back is never released, and a mover that is killed in the middle loses and repeats nothing', async () => {
  const undone = transaction(async (tx) => {
    await outbox.publish(tx, { ...placed('k', 0), delayMs: 0 });
    throw new Error('undone');
  });
  await expect(undone).rejects.toThrow('undone');
  const total = 1000;
  await transaction((tx) =>
    outbox.publish(
      tx,
      ...Array.from({ length: total }, (_, i) => ({ ...placed(`k${i % 50}`, i), delayMs: 0 })),
    ),
  );
  await start();
  for (let i = 0; i < 5; i++) {
    await fixture.admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'delayed'`;
    await pause(5);
  }
  await eventually(async () => expect(await waiting()).toEqual([]), 20_000);
  const [made] =
    await fixture.admin`SELECT count(DISTINCT event_id)::int AS ids, count(*)::int AS rows FROM outbox`;
  expect(made).toEqual({ ids: total, rows: total });
});

test('a key that is new, and whose counter an open transaction is making, does not hold up the others', async () => {
  const { database, admin } = fixture;
  const soon = [
    { ...placed('a', 1), delayMs: 0 },
    { ...placed('b', 2), delayMs: 0 },
  ];
  await database.db.transaction((tx) => outbox.publish(tx, ...soon));
  let end = () => {};
  const held = database.db.transaction(async (tx) => {
    await outbox.publish(tx, placed('a', 5));
    await new Promise<void>((resolve) => {
      end = resolve;
    });
  });
  await eventually(() => expect(end).toBeTypeOf('function'));
  const release = createDelayedRelease({ ...testDeps('orders'), database, pollMs: 50 });
  await release.start();
  try {
    await eventually(async () =>
      expect([...(await admin`SELECT msg_key FROM outbox`)]).toContainEqual({ msg_key: 'b' }),
    );
  } finally {
    end();
    await held.catch(() => {}); // the server may have ended it
    await release.stop();
  }
});

test('what was moved and cannot be vacuumed is passed by a look now and then, not by each', async () => {
  const release = await openElsewhere(fixture);
  const dead = 5000;
  const notBefore = new Date((await databaseNow()).getTime() - 3_600_000);
  await transaction((tx) =>
    outbox.publish(tx, ...Array.from({ length: dead }, (_, i) => ({ ...placed('k', i), notBefore }))),
  );
  await fixture.admin`DELETE FROM outbox_delayed`;
  const passed = async () => {
    const [row] = await fixture.admin<{ n: number }[]>`
      SELECT idx_tup_read::int AS n FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_delayed_due'`;
    return row?.n ?? 0;
  };
  const before = await passed();
  const database = connectDatabase({ url: fixture.urls.url, applicationName: 'delayed-looks', max: 2 });
  const mover = createDelayedRelease({ ...testDeps('orders'), database, pollMs: 50 });
  await mover.start();
  for (let i = 0; i < 100; i++) {
    await transaction((tx) => outbox.publish(tx, { ...placed(`k${i}`, i), delayMs: 0 }));
    mover.nudge();
    await pause(25);
  }
  await mover.stop();
  await database.close(); // which is when a session says what it has counted
  const looks = ((await passed()) - before) / dead;
  expect(looks).toBeGreaterThanOrEqual(1);
  // By each it would be 200 and more. Those now and then go by time, of which this takes more on a busy machine.
  expect(looks).toBeLessThan(60);
  await release();
});

test('a look from the start that takes longer than a statement may does not hold up what is due now', async () => {
  const notBefore = new Date((await databaseNow()).getTime() - 3_600_000);
  await transaction((tx) => outbox.publish(tx, { ...placed('old', 1), notBefore }));
  const database = connectDatabase({
    url: fixture.urls.url,
    applicationName: 'delayed-slow',
    max: 2,
    statementTimeoutMs: 500,
  });
  // As if there were millions to pass that were moved: the look without a time takes two seconds.
  let slow = true;
  const unsafe = (text: string, parameters: never[]) =>
    slow && parameters.includes(null as never)
      ? database.sql.unsafe('SELECT pg_sleep(2)')
      : database.sql.unsafe(text, parameters);
  const sql = new Proxy(database.sql, {
    get: (target, name) => (name === 'unsafe' ? unsafe : Reflect.get(target, name)),
  });
  const mover = createDelayedRelease({ ...testDeps('orders'), database: { ...database, sql }, pollMs: 50 });
  movers.push(mover);
  onTestFinished(() => database.close());
  await mover.start();
  for (let n = 2; n < 5; n += 1) {
    await pause(700);
    await transaction((tx) => outbox.publish(tx, { ...placed('new', n), delayMs: 0 }));
    mover.nudge();
    await eventually(async () => expect(await released()).toHaveLength(n - 1), 2000);
  }
  expect(await waiting()).toMatchObject([{ key: 'old' }]);
  slow = false;
  await eventually(async () => expect(await waiting()).toEqual([]));
});

describe('what the database refuses', () => {
  /** The outbox takes no message of the key, or of any key; the first `tries` times, or until it is told otherwise. */
  async function refuse({ key, tries }: { key?: string; tries?: number }): Promise<() => Promise<void>> {
    const { admin } = fixture;
    const until = tries === undefined ? 'true' : `nextval('refusals') <= ${tries}`;
    await admin.unsafe(`
      CREATE SEQUENCE refusals;
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN IF ${until} THEN RAISE 'nothing today'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW
        ${key === undefined ? '' : `WHEN (NEW.msg_key = '${key}')`} EXECUTE FUNCTION refuse()`);
    const cure = async () => {
      await admin.unsafe('DROP TRIGGER IF EXISTS refuse ON outbox');
    };
    onTestFinished(async () => {
      await cure();
      await admin.unsafe('DROP FUNCTION refuse(); DROP SEQUENCE refusals');
    });
    return cure;
  }

  /** A mover, and all that it said of its health. */
  async function watched() {
    const deps = testDeps('orders');
    const said: (ComponentState | undefined)[] = [];
    const report: typeof deps.health.report = (name, state) => {
      deps.health.report(name, state);
      said.push(deps.health.details().components.delayed);
    };
    const mover = createDelayedRelease({
      ...deps,
      health: { ...deps.health, report },
      database: fixture.database,
      pollMs: 50,
    });
    movers.push(mover);
    await mover.start();
    return { said, health: () => deps.health.details().components.delayed };
  }

  const dueFor = async (ms: number, ...keys: string[]) => {
    const notBefore = new Date((await databaseNow()).getTime() - ms);
    await transaction((tx) => outbox.publish(tx, ...keys.map((key) => ({ ...placed(key, 1), notBefore }))));
  };

  test('shows in the health details with the reason, also when no look at the latest sees it any more, until it is taken', async () => {
    const cure = await refuse({});
    await dueFor(4500, 'k');
    const { said, health } = await watched();
    await eventually(() =>
      expect(health()).toEqual({
        status: 'degraded',
        reason: expect.stringMatching(/^messages that are due are not moved, \d+ failures: .*nothing today$/),
      }),
    );
    const before = said.length;
    await hurry('1 minute');
    await pause(1000);
    expect(said.slice(before).filter((state) => state?.status !== 'degraded')).toEqual([]);
    await cure();
    await eventually(() => expect(health()).toEqual({ status: 'ok' }));
    expect(await released()).toHaveLength(1);
    expect(await waiting()).toEqual([]);
  });

  test('for one key shows with that key, and holds up no other, however long they have been due', async () => {
    await refuse({ key: 'bad' });
    const others = Array.from({ length: 150 }, (_, i) => `k${i}`);
    await dueFor(60_000, 'bad', ...others);
    await dueFor(0, 'now');
    const { said, health } = await watched();
    await eventually(async () => expect(await released()).toHaveLength(others.length + 1));
    await eventually(() => expect(health()?.reason).toMatch(/ \d+ failures: orders bad: nothing today$/));
    await dueFor(0, 'then');
    await eventually(async () => expect(await released()).toHaveLength(others.length + 2));
    expect(said).not.toContainEqual({ status: 'ok' });
  });

  test('control: a hiccup is no more than tried again', async () => {
    await refuse({ tries: 2 });
    const { said } = await watched();
    await eventually(() => expect(said).toContainEqual({ status: 'ok' }));
    await dueFor(0, 'k');
    await eventually(async () => expect(await released()).toHaveLength(1));
    expect(said.filter((state) => state?.status === 'degraded')).toEqual([]);
    const [row] = await fixture.admin<{ n: number }[]>`SELECT last_value::int AS n FROM refusals`;
    expect(row?.n).toBe(3);
  });
});
