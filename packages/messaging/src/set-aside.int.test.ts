import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from '@sidecart/kit/db';
import { createLogger } from '@sidecart/kit/log';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { buryFailing } from './bury.ts';
import { type Choice, claimFailing, failingByTopic } from './failing.ts';
import { PermanentError } from './failures.ts';
import { eventually, pause } from './fixture.ts';
import { type Behaviour, KEY, send, setAside, start, useSetAside } from './fixture-set-aside.ts';
import type { Handler } from './handler.ts';
import { createHousekeeping } from './housekeeping.ts';
import { MAX_STARTS } from './limits.ts';
import { delivery } from './testing.ts';

const { replica, applied, aside, outcomeOf, dead, makeDue, someDeath, without, fixture, whileLocked } =
  useSetAside('set_aside');

describe('a message that fails again and again', () => {
  test('is taken from the broker, and tried from here until it is handled, once', async () => {
    const away = new Set([1]);
    const { consumer, state } = replica({ away });
    await setAside(consumer, 1);
    expect(await outcomeOf('k-1')).toBe('failing');
    await start(consumer);
    await eventually(() => expect(state.tries).toBeGreaterThan(3));
    expect(await send(consumer, 1), 'it comes once more').toBe('done');
    expect(await send(consumer, 2), 'others of its key go on').toBe('done');
    expect([await applied(), await dead()]).toEqual([[2], []]);
    away.clear();
    await eventually(async () => expect(await applied()).toEqual([2, 1]));
    expect([await outcomeOf('k-1'), await aside()]).toEqual(['applied', []]);
    expect(await send(consumer, 1)).toBe('done');
    expect(await applied()).toEqual([2, 1]);
  });

  test('but not before it has failed for a second', async () => {
    const { consumer } = replica({ away: new Set([1]), options: { setAsideMs: 1000 } });
    for (let i = 0; i < 3; i++) expect(await send(consumer, 1)).toBe('retry');
    await pause(1050);
    expect(await send(consumer, 1), 'now it has failed for so long').toBe('retry');
    expect(await aside()).toEqual([]);
    expect(await send(consumer, 1)).toBe('done');
    expect(await aside()).toEqual(['k-1']);
  });

  test('is tried less and less often, and told of less and less often', async () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    const log = createLogger({ service: 'inventory', level: 'warn', destination });
    const { consumer, state } = replica({ away: new Set([1]), options: { log } });
    await setAside(consumer, 1);
    await start(consumer);
    await fixture().admin`UPDATE inbox_failing SET tries = 1`;
    lines.length = 0;
    state.tries = 0;
    await pause(2000);
    expect(state.tries).toBeGreaterThan(4);
    expect(state.tries, 'every 50 ms it would be forty').toBeLessThan(12);
    expect(lines.length).toBeLessThan(state.tries);
    expect(lines.length).toBeGreaterThan(0);
    const [row] = await fixture().admin`SELECT tries, why FROM inbox_failing`;
    expect(row).toMatchObject({ why: 'a bug' });
  });

  test('is tried again by the process after this one, and after the clock was set back', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    await fixture().admin`UPDATE inbox_failing SET due_at = clock_timestamp() + interval '1 hour'`;
    await start(replica().consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
  });

  test('is applied once by whatever number of replicas, whose hands are in each other’s way', async () => {
    const away = new Set([1, 2, 3, 4, 5, 6]);
    const first = replica({ away });
    for (const n of away) await setAside(first.consumer, n, { key: `k${n}` });
    for (let i = 0; i < 4; i++) await start(replica({ during: () => sleep(50) }).consumer);
    await eventually(async () => expect((await applied()).length).toBe(6));
    await pause(200);
    expect((await applied()).sort()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('is applied once when the connection was lost while it was tried', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const during = async (_: number, tx: Transaction) => {
      if (state.tries === 1) await tx.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
    };
    const { consumer, state } = replica({ during });
    await start(consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
    expect(state.tries).toBe(2);
    expect(await aside()).toEqual([]);
  });

  test('control: were its row left there, it would be applied again', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const rows = await fixture().admin`SELECT * FROM inbox_failing`;
    await start(replica().consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
    await fixture().admin`INSERT INTO inbox_failing ${fixture().admin(rows as never)}`;
    await fixture().admin`DELETE FROM inbox`;
    await eventually(async () => expect(await applied()).toEqual([1, 1]));
  });

  test('becomes a dead letter once it fails for good', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const never = replica({ during: () => Promise.reject(new PermanentError('never')) });
    await start(never.consumer);
    await eventually(async () =>
      expect(await dead()).toEqual([
        { event_id: 'k-1', reason: 'invariant', holds_key: false, state: 'waiting' },
      ]),
    );
    expect([await outcomeOf('k-1'), await aside()]).toEqual(['dead_letter', []]);
  });

  test('is a dead letter as a command that this version has no handler for, and seen as such a fact', async () => {
    await setAside(replica({ away: new Set([1]), kind: 'command' }).consumer, 1);
    const stop = await start(replica({ types: ['Note'], kind: 'command' }).consumer);
    await eventually(async () => expect(await dead()).toMatchObject([{ reason: 'unknown_type' }]));
    await stop();
    await setAside(replica({ away: new Set([2]) }).consumer, 2);
    await start(replica({ types: ['Note'] }).consumer);
    await eventually(async () => expect(await outcomeOf('k-2')).toBe('unhandled'));
  });

  test('stays with the broker while it cannot be set aside, and is handled as ever the next time', async () => {
    const { consumer, state } = replica({ away: new Set([1]) });
    await send(consumer, 1);
    await whileLocked('inbox', async () => {
      const beganAt = performance.now();
      expect(await send(consumer, 1)).toBe('retry');
      expect(performance.now() - beganAt, 'a sidecar waits for three seconds').toBeLessThan(2900);
    });
    expect([await send(consumer, 1), state.tries]).toEqual(['retry', 2]);
    expect([await send(consumer, 1), state.tries]).toEqual(['done', 2]);
  });

  test('is not lost with a table that takes nothing: it is handled as ever in between', async () => {
    const away = new Set([1]);
    const { consumer } = replica({ away });
    await without('inbox_failing', async () => {
      for (let i = 0; i < 4; i++) expect(await send(consumer, 1)).toBe('retry');
      away.clear();
      const answers = [await send(consumer, 1), await send(consumer, 1)];
      expect(answers).toContain('done');
      expect(await applied()).toEqual([1]);
    });
  });

  test('does not keep others from being tried, though eight hang', async () => {
    const hanging = new Set([1, 2, 3, 4, 5, 6, 7, 8]);
    const failing = new Set([...hanging, 9]);
    const first = replica({ away: failing });
    for (const n of hanging) await setAside(first.consumer, n, { key: `k${n}` });
    const hang = (n: number) => (hanging.has(n) ? new Promise(() => {}) : Promise.resolve());
    const second = replica({ during: hang, options: { retryTimeoutMs: 300 } });
    await start(second.consumer);
    await eventually(() => expect(second.state.tries).toBeGreaterThan(8));
    await setAside(first.consumer, 9);
    const beganAt = performance.now();
    await eventually(async () => expect(await applied()).toEqual([9]));
    // One hand is free within 300 ms, and takes what was tried least.
    expect(performance.now() - beganAt).toBeLessThan(1500);
    hanging.clear();
    await eventually(async () => expect((await applied()).length).toBe(9), 20_000);
  });

  test('is handled though it takes longer than a sidecar would wait', async () => {
    const slow = { during: () => sleep(300), options: { handlerTimeoutMs: 100 } };
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    await start(replica(slow).consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
  });

  test('keeps its inbox row for as long as it is there, and is no message that the inbox has forgotten', async () => {
    const away = new Set([1]);
    const { consumer, metrics } = replica({ away });
    const old = delivery('Step', { key: 'k', n: 1 }, { id: 'k-1', key: 'k' }).replace(
      /"time":"[^"]*"/,
      `"time":"${new Date(Date.now() - 9 * 86_400_000).toISOString()}"`,
    );
    const receive = () => consumer.receive('orders', new TextEncoder().encode(old), {});
    expect([await receive(), await receive()]).toEqual(['retry', 'done']);
    await fixture().admin`UPDATE inbox SET received_at = now() - interval '9 days'`;
    await start({ worker: createHousekeeping({ ...testDeps('inventory'), database: fixture().database }) });
    await pause(300);
    expect(await outcomeOf('k-1')).toBe('failing');
    away.clear();
    await start(consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
    // Once it was set aside, which is all that the inbox could have forgotten.
    expect(await metrics.registry.metrics()).toMatch(
      /sidecart_inbox_forgotten_total\{topic="orders"[^}]*\} 1/,
    );
  });

  test('shows in the health details, with the reason, also when its topic is not consumed any more', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const failing = replica({ away: new Set([1]) });
    const stop = await start(failing.consumer);
    await eventually(async () =>
      expect(await failing.metrics.registry.metrics()).toMatch(
        /sidecart_inbox_failing\{topic="orders"[^}]*\} 1/,
      ),
    );
    await eventually(() => expect(failing.health.details().components.inbox).toEqual({ status: 'ok' }));
    await fixture().admin`UPDATE inbox_failing SET set_aside_at = set_aside_at - interval '10 seconds'`;
    await eventually(() =>
      expect(failing.health.details().components.inbox).toMatchObject({
        status: 'degraded',
        reason: expect.stringMatching(
          /^1 message\(s\) of orders fail again and again, k-1 \d+ times: a bug$/,
        ),
      }),
    );
    const fresh = replica({ away: new Set([1, 2]) });
    await setAside(fresh.consumer, 2, { id: 'a-smaller-id' });
    await fixture().admin`UPDATE inbox_failing SET due_at = clock_timestamp() + interval '10 seconds'`;
    await fixture().admin`UPDATE inbox_failing SET tries = 100 WHERE event_id = 'a-smaller-id'`;
    await pause(200);
    expect(failing.health.details().components.inbox?.reason).toMatch(/^2 message/);
    await stop();
    await fixture().admin`DELETE FROM inbox_failing WHERE event_id = 'a-smaller-id'`;
    const other = replica({ options: { topics: { products: { kind: 'fact', handlers: {} } } } });
    await start(other.consumer);
    await eventually(() =>
      expect(other.health.details().components.inbox?.reason).toBe(
        '1 message(s) of orders fail again and again and were set aside, and this service does not consume it any more',
      ),
    );
    expect(await aside()).toEqual(['k-1']);
  });

  test('rests after each failure, though others are set aside meanwhile', async () => {
    const away = new Set([1, 2, 3]);
    const { consumer, state } = replica({ away, options: { sweepMs: 20 } });
    for (const n of away) await setAside(consumer, n, { key: `k${n}` });
    await start(consumer);
    const beganAt = performance.now();
    const { tries } = state;
    for (let n = 100; n < 140; n++) {
      away.add(n);
      await setAside(consumer, n, { key: `k${n}` });
      await pause(25);
    }
    // Each delivery that fails counts as a try, too. Two hands may try ten times a second each.
    const seconds = (performance.now() - beganAt) / 1000;
    expect(state.tries - tries - 40).toBeLessThan(10 + 22 * seconds);
  });

  test('of one topic holds up none of another, though each of them is tried more than once', async () => {
    const away = new Set(Array.from({ length: 60 }, (_, i) => i + 1));
    const failsTwice = { left: 2 };
    const during = async (n: number) => {
      if (n === 1000 && failsTwice.left-- > 0) throw new Error('not now');
    };
    const made = replica({ away, during });
    const handlers = made.consumer.topics.orders as { kind: 'fact'; handlers: Record<string, Handler> };
    const topics = { orders: handlers, other: handlers };
    const { consumer } = replica({ options: { topics } });
    for (const n of away) await setAside(consumer, n, { key: `k${n}` });
    const body = new TextEncoder().encode(delivery('Step', { key: 'x', n: 1000 }, { id: 'x', key: 'x' }));
    const other = () => consumer.receive('other', body, {});
    expect([await other(), await other()]).toEqual(['retry', 'done']);
    await start(consumer);
    const beganAt = performance.now();
    await eventually(async () => expect(await applied()).toEqual([1000]));
    expect(performance.now() - beganAt, 'sixty of them twice would take six seconds').toBeLessThan(2000);
  });

  test('is given up at once when its process is to end, and has killed nobody', async () => {
    await someDeath();
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    for (let i = 0; i < 7; i++) {
      const { consumer, state } = replica({ during: () => new Promise(() => {}) });
      await consumer.worker.start();
      await makeDue();
      await eventually(() => expect(state.tries).toBe(1));
      const beganAt = performance.now();
      await consumer.worker.stop();
      expect(performance.now() - beganAt).toBeLessThan(1500);
    }
    await start(replica().consumer);
    await eventually(async () => expect(await applied()).toEqual([1]));
    expect(await dead()).toEqual([]);
  }, 30_000);

  test('that hangs without a statement is ended by the database, and tried again', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const { consumer, state } = replica({
      during: () => (state.tries === 1 ? new Promise(() => {}) : Promise.resolve()),
    });
    await start(consumer);
    await eventually(async () => expect(await applied()).toEqual([1]), 10_000);
    expect(state.tries).toBe(2);
  }, 15_000);

  test('is not set aside when another replica has handled it meanwhile', async () => {
    const { consumer } = replica({ away: new Set([1]) });
    expect(await send(consumer, 1)).toBe('retry');
    expect(await send(replica().consumer, 1)).toBe('done');
    expect(await send(consumer, 1)).toBe('done');
    expect([await aside(), await applied(), await outcomeOf('k-1')]).toEqual([[], [1], 'applied']);
  });

  test('is set aside though it is there already, from a row of the inbox that was purged', async () => {
    const { consumer } = replica({ away: new Set([1]) });
    await setAside(consumer, 1);
    await fixture().admin`DELETE FROM inbox`;
    await setAside(consumer, 1);
    expect([await aside(), await outcomeOf('k-1')]).toEqual([['k-1'], 'failing']);
  });

  test('is not applied again when it was handled after its row of the inbox was purged', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    await fixture().admin`DELETE FROM inbox`;
    const { consumer } = replica();
    expect(await send(consumer, 1)).toBe('done');
    await start(consumer);
    await eventually(async () => expect(await aside()).toEqual([]));
    expect(await applied()).toEqual([1]);
  });

  test('is tried again within twenty seconds, however often it has failed', async () => {
    const { consumer } = replica({ away: new Set([1]) });
    await setAside(consumer, 1);
    await fixture().admin`UPDATE inbox_failing SET tries = 5000`;
    await start(consumer);
    const rest = async () => {
      const [row] = await fixture().admin<{ tries: number; s: number }[]>`
        SELECT tries, extract(epoch FROM due_at - clock_timestamp())::float8 AS s FROM inbox_failing`;
      return row as { tries: number; s: number };
    };
    await eventually(async () => expect((await rest()).tries).toBe(5001));
    const { s } = await rest();
    expect(s).toBeGreaterThan(5);
    expect(s).toBeLessThanOrEqual(20);
  });

  test('of a topic that is not consumed any more is left alone', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    await start(replica({ options: { topics: { products: { kind: 'fact', handlers: {} } } } }).consumer);
    await pause(300);
    expect(await fixture().admin`SELECT tries FROM inbox_failing`).toEqual([{ tries: 0 }]);
  });

  test('is next when it is due for the longest time, and also when it was tried least', async () => {
    const { consumer } = replica({ away: new Set([1, 2]) });
    for (const n of [1, 2]) await setAside(consumer, n);
    const next = async (choice: Choice) => {
      await fixture()
        .admin`UPDATE inbox_failing SET tries = 5, due_at = clock_timestamp() - interval '2 minutes' WHERE event_id = 'k-1'`;
      await fixture()
        .admin`UPDATE inbox_failing SET tries = 1, due_at = clock_timestamp() WHERE event_id = 'k-2'`;
      const message = await claimFailing(fixture().database.db, { topics: ['orders'], choice, restMs: 1000 });
      return message?.eventId;
    };
    expect([await next('longest due'), await next('least tried')]).toEqual(['k-1', 'k-2']);
  });

  test('is left out while somebody tries it, though it is due again', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    const ended = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const trying = fixture().admin.begin(async (tx) => {
      await tx`DELETE FROM inbox_failing`;
      taken.resolve();
      await ended.promise;
    });
    await taken.promise;
    const o = { topics: ['orders'], choice: 'longest due' as const, restMs: 1000 };
    const claimed = claimFailing(fixture().database.db, o);
    try {
      expect(await Promise.race([claimed, sleep(1000, 'waits')])).toBeUndefined();
    } finally {
      ended.resolve();
      await Promise.all([trying, claimed]);
    }
  });

  test('stays with the broker in time when it cannot be set aside in time', async () => {
    const { consumer } = replica({ away: new Set([1]), options: { handlerTimeoutMs: 300 } });
    await send(consumer, 1);
    await whileLocked('inbox', async () => {
      const beganAt = performance.now();
      expect(await send(consumer, 1)).toBe('retry');
      expect(performance.now() - beganAt).toBeLessThan(1000);
    });
  });

  test('is set aside, and told of, whatever its error quotes', async () => {
    let quoted = 'x\0y';
    const during = () => Promise.reject(new TypeError(quoted));
    const { consumer } = replica({ during });
    await setAside(consumer, 1);
    const why = async () => (await fixture().admin`SELECT why FROM inbox_failing`)[0]?.why;
    expect(await why()).toBe('x\u{fffd}y');
    quoted = 'p\0q';
    await start(consumer);
    await eventually(async () => expect(await why()).toBe('p\u{fffd}q'));
  });

  test('shows for each topic', async () => {
    for (const topic of ['a', 'b', 'c'])
      for (const id of topic === 'b' ? ['1', '2'] : ['1'])
        await fixture()
          .admin`INSERT INTO inbox_failing (topic, event_id, sender, msg_key, key_seq, passed, body, headers, why)
          VALUES (${topic}, ${id}, 'test', ${id}, 1, false, 'x', '{}', 'no')`;
    expect(await failingByTopic(fixture().database.db)).toMatchObject({
      a: { messages: 1, eventId: '1', why: 'no', tries: 0 },
      b: { messages: 2 },
      c: { messages: 1 },
    });
  });

  test('is no dead letter when it was handled meanwhile', async () => {
    const { consumer } = replica();
    await send(consumer, 1);
    const message = {
      topic: 'orders',
      eventId: 'k-1',
      type: 'Step',
      key: 'k',
      body: new Uint8Array(),
      headers: {},
      attempts: 1,
    };
    const died = { ...message, reason: 'invariant' as const, detail: 'x' };
    expect(
      await buryFailing(fixture().database.db, died, { place: { ...KEY, seq: 1n }, passed: false }),
    ).toBe(false);
    expect([await dead(), await outcomeOf('k-1')]).toEqual([[], 'applied']);
  });
});

describe('while deaths are counted', () => {
  const failAside = async (
    options: NonNullable<Behaviour['options']>,
    during: NonNullable<Behaviour['during']>,
  ) => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1);
    await someDeath();
    return replica({ during, options });
  };
  const starts = () => fixture().admin`SELECT event_id, starts FROM inbox_start`;
  const whyOf = async () => (await fixture().admin`SELECT why FROM inbox_failing`)[0]?.why;

  test('a try that goes on after its time still counts: it may kill yet', async () => {
    const going = Promise.withResolvers<void>();
    const o = { sweepMs: 4000, retryTimeoutMs: 100, handlerTimeoutMs: 100 };
    const { consumer } = await failAside(o, () => going.promise);
    await start(consumer);
    await eventually(async () => expect(await whyOf()).toMatch(/^Not handled within/));
    await pause(100);
    expect(await starts()).toEqual([{ event_id: 'k-1', starts: 1 }]);
    going.resolve();
    await eventually(async () => expect(await starts()).toEqual([]));
  });

  test('others wait for one that may kill no longer than for a delivery, though it hangs', async () => {
    const going = Promise.withResolvers<void>();
    onTestFinished(() => going.resolve());
    const o = { sweepMs: 10_000, retryTimeoutMs: 20_000, handlerTimeoutMs: 300, setAsideMs: 60_000 };
    const { consumer, state } = await failAside(o, (n) => (n === 1 ? going.promise : Promise.resolve()));
    await fixture().admin`INSERT INTO inbox_start (topic, event_id, starts) VALUES ('orders', 'k-1', 1)`;
    await start(consumer);
    await eventually(() => expect(state.tries).toBe(1));
    await eventually(async () => expect(await send(consumer, 2, { key: 'other' })).toBe('done'), 3000);
  });

  test('one that has killed too often is not tried again, though it cannot be a dead letter now', async () => {
    const { consumer, state } = await failAside({}, () => Promise.resolve());
    await fixture()
      .admin`INSERT INTO inbox_start (topic, event_id, starts) VALUES ('orders', 'k-1', ${MAX_STARTS})`;
    await without('dead_letter', async () => {
      await start(consumer);
      await eventually(async () =>
        expect(await fixture().admin`SELECT FROM inbox_failing WHERE tries > 3`).toHaveLength(1),
      );
    });
    expect(state.tries).toBe(0);
    await eventually(async () => expect(await dead()).toMatchObject([{ reason: 'poison' }]));
  });
});
