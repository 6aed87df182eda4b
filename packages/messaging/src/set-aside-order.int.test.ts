import { testDeps } from '@sidecart/kit/testing';
import { describe, expect, test } from 'vitest';
import type { TopicHandlers } from './applying.ts';
import type { Consumer } from './consumer.ts';
import { PermanentError } from './failures.ts';
import { eventually, pause } from './fixture.ts';
import { KEY, send, setAside, start, useSetAside } from './fixture-set-aside.ts';
import { createHousekeeping } from './housekeeping.ts';
import { waitingKeys } from './key-order.ts';
import { discardDeadLetter, redriveDeadLetter } from './redrive.ts';
import { settleLost } from './repair-state.ts';
import { setAsideParked } from './set-aside.ts';
import { delivery } from './testing.ts';

const { replica, applied, aside, outcomeOf, dead, keyState, makeDue, drainAside, without, fixture } =
  useSetAside('set_aside_order');

describe('where a handler wants the order', () => {
  test('it keeps its key: what is behind it waits until it is handled', async () => {
    const away = new Set([2]);
    const { consumer, health } = replica({ away, ordered: true });
    await send(consumer, 1);
    await setAside(consumer, 2);
    for (const n of [3, 2, 4]) expect(await send(consumer, n)).toBe('done');
    expect([await applied(), await keyState()]).toEqual([[1], { last: 1, waiting: 2 }]);
    await fixture().admin`UPDATE inbox_parked SET parked_at = parked_at - interval '100 seconds'`;
    await fixture().admin`UPDATE inbox_failing SET set_aside_at = set_aside_at - interval '100 seconds'`;
    // A gap of this moment beside it is none to tell of yet.
    await send(consumer, 9, { key: 'other', sequence: 2 });
    await start(consumer);
    await eventually(() => {
      const reason = health.details().components.inbox?.reason;
      expect(reason).toContain('fail again and again');
      expect(reason).not.toContain('does not come');
    });
    away.clear();
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3, 4]));
    expect([await keyState(), await aside()]).toEqual([{ last: 4, waiting: 0 }, []]);
  });

  test('as a dead letter it keeps it until somebody decides', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    await setAside(consumer, 1);
    await send(consumer, 2);
    await start(
      replica({ ordered: true, during: () => Promise.reject(new PermanentError('never')) }).consumer,
    );
    await eventually(async () => expect(await dead()).toMatchObject([{ event_id: 'k-1', holds_key: true }]));
    expect(await keyState()).toEqual({ last: 0, waiting: 1 });
  });

  test('one of a type that does not want it is passed by its key, and handled all the same', async () => {
    const away = new Set([1, 4]);
    const { consumer } = replica({ away, ordered: true });
    await setAside(consumer, 1, { type: 'Note' });
    await setAside(consumer, 4, { type: 'Note' });
    for (const n of [3, 2, 5]) expect(await send(consumer, n)).toBe('done');
    await eventually(async () => expect(await applied()).toEqual([2, 3, 5]));
    expect(await keyState()).toEqual({ last: 5, waiting: 0 });
    away.clear();
    await start(consumer);
    await eventually(async () => expect((await applied()).sort()).toEqual([1, 2, 3, 4, 5]));
    expect(await keyState()).toEqual({ last: 5, waiting: 0 });
  });

  test('another message with the number of one that was set aside loses neither', async () => {
    const away = new Set([1]);
    const { consumer } = replica({ away, ordered: true });
    await setAside(consumer, 1);
    expect(await send(consumer, 9, { sequence: 1 })).toBe('done');
    expect(await applied()).toEqual([9]);
    away.clear();
    await start(consumer);
    await eventually(async () =>
      expect(await dead()).toMatchObject([{ event_id: 'k-1', reason: 'invariant' }]),
    );
    // Of a type that does not want the order both are handled.
    await setAside(replica({ away: new Set([2]), ordered: true }).consumer, 2, { type: 'Note' });
    await setAside(replica({ away: new Set([8]), ordered: true }).consumer, 8, {
      type: 'Note',
      key: 'other',
      sequence: 1,
    });
    expect(await send(consumer, 7, { type: 'Note', key: 'other', sequence: 1 })).toBe('done');
    await eventually(async () => expect((await applied()).sort()).toEqual([2, 8, 9]));
    expect(await dead()).toMatchObject([{ event_id: 'k-1' }, { event_id: 'other-7', reason: 'invariant' }]);
  });

  test('one whose number was used before is a dead letter, and not set aside', async () => {
    const { consumer } = replica({ ordered: true });
    await send(consumer, 1);
    await without('dead_letter', async () => {
      expect(await send(consumer, 9, { sequence: 1 })).toBe('retry');
      expect(await send(consumer, 9, { sequence: 1 })).toBe('retry');
    });
    expect(await send(consumer, 9, { sequence: 1 })).toBe('done');
    expect([await aside(), await dead()]).toMatchObject([[], [{ event_id: 'k-9' }]]);
  });

  test('what waited, and hangs or fails when its turn has come, leaves the sweeps to the others', async () => {
    const hanging = new Set([11, 12, 13, 14, 15, 16]);
    const away = new Set([...hanging].map((n) => n + 10));
    const during = (n: number) => (hanging.has(n) ? new Promise(() => {}) : Promise.resolve());
    const { consumer } = replica({
      away,
      during,
      ordered: true,
      options: { handlerTimeoutMs: 100, retryTimeoutMs: 100 },
    });
    for (const n of hanging) await send(consumer, n, { key: `h${n}`, sequence: 2 });
    for (const n of away) await send(consumer, n, { key: `f${n}`, sequence: 2 });
    await start(consumer);
    for (const n of hanging) await send(consumer, 100 + n, { key: `h${n}`, sequence: 1 });
    for (const n of away) await send(consumer, 100 + n, { key: `f${n}`, sequence: 1 });
    await eventually(async () => expect(await aside()).toHaveLength(12), 60_000);
    expect(await fixture().admin`SELECT FROM inbox_parked`).toHaveLength(0);
    hanging.clear();
    away.clear();
    await eventually(async () => expect((await applied()).length).toBe(24), 60_000);
    expect(await aside()).toEqual([]);
  }, 130_000);

  test('one that was set aside while nobody wanted it waits for those before it when somebody does', async () => {
    await setAside(replica({ away: new Set([2]) }).consumer, 2);
    const later = replica({ ordered: true });
    await start(later.consumer);
    await eventually(async () => expect(await outcomeOf('k-2')).toBe('parked'));
    await send(later.consumer, 1);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
    expect(await keyState()).toEqual({ last: 2, waiting: 0 });
  });

  test('one that kept its key lets it go on when nobody wants the order any more', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    await setAside(consumer, 1);
    for (const n of [2, 3]) await send(consumer, n);
    await start(replica().consumer);
    await eventually(async () => expect((await applied()).sort()).toEqual([1, 2, 3]));
    await eventually(async () => expect((await keyState())?.waiting).toBe(0));
    expect(await aside()).toEqual([]);
  });

  test('what waited for one that was set aside is not handled before it by another replica', async () => {
    const away = new Set([1]);
    const { consumer } = replica({ away, ordered: true });
    await setAside(consumer, 1);
    const others = [replica({ away, ordered: true }), replica({ away, ordered: true })];
    for (const { consumer: other } of others) await start(other);
    for (const n of [4, 2, 3]) await send(others[0]?.consumer as Consumer, n);
    await pause(300);
    expect(await applied()).toEqual([]);
    away.clear();
    await makeDue();
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3, 4]));
  });

  test('that is held by one that fails goes on once its handler wants the order no more, and another one does', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: 'Step' });
    await setAside(consumer, 1);
    await send(consumer, 2);
    await start(replica({ away: new Set([1]), ordered: 'Note' }).consumer);
    await eventually(async () => expect(await applied()).toEqual([2]));
    expect([await aside(), await keyState()]).toEqual([['k-1'], { last: 2, waiting: 0 }]);
  });

  test('one that kept its key, and died while nobody wanted the order, holds up nobody when it is wanted again', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    await setAside(consumer, 1);
    const never = { during: () => Promise.reject(new PermanentError('never')) };
    const stop = await start(replica(never).consumer);
    await eventually(async () => expect(await dead()).toMatchObject([{ event_id: 'k-1', holds_key: false }]));
    await stop();
    const later = replica({ ordered: true });
    expect(await send(later.consumer, 2)).toBe('done');
    expect(await applied()).toEqual([2]);
  });

  test('nor does one that died of a delivery while nobody wanted it: a duplicate passes it', async () => {
    const never = { during: () => Promise.reject(new PermanentError('never')) };
    await send(replica(never).consumer, 1);
    const later = replica({ ordered: true });
    await send(later.consumer, 2);
    expect(await applied()).toEqual([]);
    await send(later.consumer, 1);
    await eventually(async () => expect(await applied()).toEqual([2]));
    // One that holds its key is not passed so.
    await send(replica({ ...never, ordered: true }).consumer, 1, { key: 'other' });
    await send(later.consumer, 2, { key: 'other' });
    await send(later.consumer, 1, { key: 'other' });
    await pause(100);
    expect(await applied()).toEqual([2]);
  });

  test('a dead letter that its key has passed is redriven into its place when the order is wanted by then', async () => {
    const never = { during: () => Promise.reject(new PermanentError('never')) };
    await send(replica({ ...never, ordered: 'Step' }).consumer, 3, { type: 'Note' });
    const later = replica({ ordered: 'Note' });
    const [letter] = await fixture().admin<{ id: string }[]>`SELECT id FROM dead_letter`;
    const deciding = { database: fixture().database, consumer: later.consumer };
    expect(await redriveDeadLetter(deciding, BigInt(letter?.id ?? 0), 'somebody')).toEqual({
      outcome: 'parked',
    });
    for (const n of [1, 2]) await send(later.consumer, n, { type: 'Note' });
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3]));
    expect(await keyState()).toEqual({ last: 3, waiting: 0 });
  });

  test('two messages with one number beyond a gap: the second is a dead letter, delivered or set aside', async () => {
    const { consumer } = replica({ ordered: true });
    await setAside(replica({ away: new Set([7]) }).consumer, 7, { sequence: 2 });
    await send(consumer, 2);
    await send(consumer, 8, { sequence: 2 });
    expect(await dead()).toMatchObject([{ event_id: 'k-8', reason: 'invariant' }]);
    await start(consumer);
    await eventually(async () =>
      expect(await dead()).toMatchObject([{ event_id: 'k-7', reason: 'invariant' }, { event_id: 'k-8' }]),
    );
    await send(consumer, 1);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
  });

  test('giving up a lost message waits for who sets aside what came at this moment', async () => {
    const { consumer } = replica({ ordered: true });
    await send(consumer, 2);
    const { admin, database } = fixture();
    const [letter] = await admin<{ id: string }[]>`
      INSERT INTO dead_letter (topic, event_id, msg_key, sender, key_seq, holds_key, reason, detail, body, headers, attempts)
      VALUES ('orders', 'lost', 'k', 'test', 1, true, 'lost', 'x', '', '{}', 0) RETURNING id`;
    const locked = Promise.withResolvers<void>();
    const deciding = Promise.withResolvers<void>();
    const settingAside = admin.begin(async (tx) => {
      await tx`SELECT FROM inbox_key FOR UPDATE`;
      await tx`INSERT INTO inbox_failing (topic, event_id, sender, msg_key, key_seq, passed, body, headers, why)
        VALUES ('orders', 'k-1', 'test', 'k', 1, false, 'x', '{}', 'no')`;
      locked.resolve();
      await deciding.promise;
    });
    await locked.promise;
    const by = { actor: 'somebody', note: '' };
    const discarded = discardDeadLetter({ database, consumer }, BigInt(letter?.id ?? 0), by);
    await pause(200);
    deciding.resolve();
    await settingAside;
    expect(await discarded).toEqual({ outcome: 'discarded' });
    expect(await keyState()).toEqual({ last: 0, waiting: 1 });
  });

  test('a lost message that came after all, and fails, is lost no more', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    await send(consumer, 2);
    for (const n of [1, 5])
      await fixture().admin`
        INSERT INTO dead_letter (topic, event_id, msg_key, sender, key_seq, holds_key, reason, detail, body, headers, attempts)
        VALUES ('orders', ${`lost-${n}`}, 'k', 'test', ${n}, true, 'lost', 'x', '', '{}', 0)`;
    await setAside(consumer, 1);
    await settleLost(fixture().database);
    expect(await dead()).toMatchObject([{ state: 'redriven' }, { state: 'waiting' }]);
  });

  test('a lost message that came after all, and fails, is waited for, though somebody gives the lost one up', async () => {
    const away = new Set([1]);
    const { consumer } = replica({ away, ordered: true });
    await send(consumer, 2);
    const [letter] = await fixture().admin<{ id: string }[]>`
      INSERT INTO dead_letter (topic, event_id, msg_key, sender, key_seq, holds_key, reason, detail, body, headers, attempts)
      VALUES ('orders', 'lost', 'k', 'test', 1, true, 'lost', 'x', '', '{}', 0) RETURNING id`;
    await setAside(consumer, 1);
    const by = { actor: 'somebody', note: '' };
    const deciding = { database: fixture().database, consumer };
    expect(await discardDeadLetter(deciding, BigInt(letter?.id ?? 0), by)).toEqual({ outcome: 'discarded' });
    expect(await keyState()).toEqual({ last: 0, waiting: 1 });
    away.clear();
    await start(consumer);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
  });

  test('one whose number was used before is not set aside either where its type does not want the order', async () => {
    const { consumer } = replica({ ordered: true });
    await send(consumer, 1);
    const again = () => send(consumer, 9, { type: 'Note', sequence: 1 });
    await without('dead_letter', async () => {
      for (let i = 0; i < 2; i++) expect(await again()).toBe('retry');
    });
    expect(await again()).toBe('done');
    expect([await aside(), await dead()]).toMatchObject([[], [{ event_id: 'k-9', reason: 'invariant' }]]);
  });

  test('one that is not the next is not set aside: it is kept for its turn', async () => {
    const { consumer } = replica({ ordered: true });
    await without('inbox_parked', async () => {
      for (let i = 0; i < 2; i++) expect(await send(consumer, 2)).toBe('retry');
    });
    expect(await send(consumer, 2)).toBe('done');
    expect([await aside(), await outcomeOf('k-2')]).toEqual([[], 'parked']);
  });

  test('one that another replica has handled meanwhile, without order, is passed by its key', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    expect(await send(consumer, 1)).toBe('retry');
    expect(await send(replica().consumer, 1)).toBe('done');
    expect(await send(consumer, 1)).toBe('done');
    expect(await aside()).toEqual([]);
    expect(await send(consumer, 2)).toBe('done');
    expect([await applied(), await keyState()]).toEqual([[1, 2], { last: 2, waiting: 0 }]);
  });

  test('one that its key passes lets what waits behind it go on at once', async () => {
    const { consumer } = replica({ away: new Set([1]), ordered: true });
    await send(consumer, 2);
    await setAside(consumer, 1, { type: 'Note' });
    await eventually(async () => expect(await applied()).toEqual([2]));
    expect(await keyState()).toEqual({ last: 2, waiting: 0 });
  });

  test('nor is another message that waits in its place by then', async () => {
    const { consumer } = replica({ ordered: true });
    await send(consumer, 2);
    const other = { place: { ...KEY, seq: 2n }, eventId: 'another', type: 'Step', why: 'x' };
    const topicHandlers = consumer.topics.orders as TopicHandlers;
    expect(await setAsideParked(fixture().database, topicHandlers, other)).toBe(false);
    await send(consumer, 1);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
  });

  test('what waited and was handled meanwhile is not set aside', async () => {
    const { consumer } = replica({ ordered: true });
    for (const n of [2, 1]) await send(consumer, n);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
    const made = await setAsideParked(fixture().database, consumer.topics.orders as TopicHandlers, {
      place: { ...KEY, seq: 2n },
      eventId: 'k-2',
      type: 'Step',
      why: 'x',
    });
    expect([made, await aside(), await outcomeOf('k-2')]).toEqual([false, [], 'applied']);
  });

  test('one that waited beyond a gap, and failed while nobody wanted the order, has its place when somebody does', async () => {
    await send(replica({ ordered: true }).consumer, 2);
    await drainAside(replica({ away: new Set([2]) }).consumer, 'k-2');
    expect(await keyState()).toEqual({ last: 0, waiting: 0 });
    const { consumer } = replica({ ordered: true });
    await start(consumer);
    await eventually(async () => expect(await outcomeOf('k-2')).toBe('parked'));
    for (const n of [1, 3]) expect(await send(consumer, n)).toBe('done');
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3]));
    expect(await keyState()).toEqual({ last: 3, waiting: 0 });
  });

  test('one that waited, of a type that does not want the order any more, is passed by its key', async () => {
    await send(replica({ ordered: true }).consumer, 2);
    const { consumer } = replica({ away: new Set([2]), ordered: 'Note' });
    await send(consumer, 1);
    await drainAside(consumer, 'k-2');
    expect(await keyState()).toEqual({ last: 2, waiting: 0 });
  });

  test('one that waited keeps its key when it is set aside', async () => {
    const away = new Set([2]);
    const { consumer } = replica({ away, ordered: true });
    for (const n of [2, 1]) await send(consumer, n);
    await drainAside(consumer, 'k-2');
    await send(consumer, 3);
    expect([await applied(), await keyState()]).toEqual([[1], { last: 1, waiting: 1 }]);
    away.clear();
    await start(consumer);
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3]));
  });

  test('is tried at once when it was set aside, and what waits behind it goes on at once', async () => {
    const away = new Set([1]);
    const { consumer, state } = replica({ away, ordered: true, options: { sweepMs: 5000 } });
    await start(consumer);
    await pause(200); // nothing to do now, for five seconds
    expect(await send(consumer, 1)).toBe('retry');
    await send(consumer, 2);
    away.clear();
    expect(await send(consumer, 1)).toBe('done');
    await eventually(async () => expect(await applied()).toEqual([1, 2]), 2000);
    expect(state.tries).toBe(3);
  });

  test('is tried at once when it was set aside after it had waited', async () => {
    const away = new Set([2]);
    const { consumer } = replica({ away, ordered: true, options: { sweepMs: 5000 } });
    await start(consumer);
    await pause(200);
    for (const n of [2, 1]) await send(consumer, n);
    await pause(200); // its turn has come, and it has failed
    away.clear();
    await consumer.drain(KEY);
    await eventually(async () => expect(await applied()).toEqual([1, 2]), 2000);
  });

  test('what waits is handled as ever in between while it cannot be set aside', async () => {
    const away = new Set([2]);
    const { consumer } = replica({ away, ordered: true });
    for (const n of [2, 1]) await send(consumer, n);
    await without('inbox_failing', async () => {
      for (let i = 0; i < 3; i++) await consumer.drain(KEY);
      away.clear();
      for (let i = 0; i < 2; i++) await consumer.drain(KEY);
      expect(await applied()).toEqual([1, 2]);
    });
  });

  test('what waits behind one that is set aside and passed is handled at once', async () => {
    await send(replica({ ordered: true }).consumer, 2);
    await send(replica({ ordered: true }).consumer, 3);
    const { consumer } = replica({ away: new Set([2]), ordered: 'Note' });
    await send(consumer, 1);
    await drainAside(consumer, 'k-2');
    expect(await applied()).toEqual([1, 3]);
  });

  test('what waited is no message that the inbox has forgotten when its turn comes', async () => {
    const { consumer, metrics } = replica({ ordered: true });
    const old = delivery('Step', { key: 'k', n: 2 }, { id: 'k-2', key: 'k', sequence: 2 }).replace(
      /"time":"[^"]*"/,
      `"time":"${new Date(Date.now() - 9 * 86_400_000).toISOString()}"`,
    );
    await consumer.receive('orders', new TextEncoder().encode(old), {});
    await send(consumer, 1);
    await eventually(async () => expect(await applied()).toEqual([1, 2]));
    // Once it was parked, which is all that the inbox could have forgotten.
    expect(await metrics.registry.metrics()).toMatch(
      /sidecart_inbox_forgotten_total\{topic="orders"[^}]*\} 1/,
    );
  });

  test('as a dead letter it does not hold a key that has passed it, though its type wants the order by now', async () => {
    await setAside(replica({ away: new Set([1]), ordered: true }).consumer, 1, { type: 'Note' });
    await start(
      replica({ ordered: 'Note', during: () => Promise.reject(new PermanentError('never')) }).consumer,
    );
    await eventually(async () => expect(await dead()).toMatchObject([{ event_id: 'k-1', holds_key: false }]));
  });

  test('as a dead letter it is passed by its key, where nobody wanted the order when it was set aside', async () => {
    await setAside(replica({ away: new Set([1]) }).consumer, 1, { type: 'Note' });
    const during = (n: number) => (n === 1 ? Promise.reject(new PermanentError('never')) : Promise.resolve());
    const { consumer } = replica({ ordered: true, during });
    await start(consumer);
    await eventually(async () => expect(await dead()).toMatchObject([{ event_id: 'k-1', holds_key: false }]));
    await send(consumer, 2);
    expect([await applied(), await keyState()]).toEqual([[2], { last: 2, waiting: 0 }]);
  });

  test('a key that waits for a missing message counts as such, though one further on was set aside and is passed', async () => {
    const { consumer } = replica({ away: new Set([4]), ordered: true });
    await setAside(consumer, 4, { type: 'Note' });
    await send(consumer, 3);
    expect(await waitingKeys(fixture().database.db, ['orders'])).toMatchObject({
      orders: { held: 0, missing: 1 },
    });
  });

  test('what waits for one before it keeps its inbox row', async () => {
    const { consumer } = replica({ ordered: true });
    await send(consumer, 2);
    await fixture().admin`UPDATE inbox SET received_at = now() - interval '9 days'`;
    await start({ worker: createHousekeeping({ ...testDeps('inventory'), database: fixture().database }) });
    await pause(300);
    expect(await outcomeOf('k-2')).toBe('parked');
  });

  test('what took its key lets it go on, where its type has no handler any more and nobody wants the order', async () => {
    await setAside(replica({ away: new Set([1]), ordered: true }).consumer, 1);
    const stop = await start(replica({ types: ['Note'] }).consumer);
    await eventually(async () => expect(await outcomeOf('k-1')).toBe('unhandled'));
    await stop();
    const { consumer } = replica({ ordered: true });
    await send(consumer, 2);
    expect([await applied(), await keyState()]).toEqual([[2], { last: 2, waiting: 0 }]);
  });

  test('what waited, and hangs when its turn has come, is set aside though its key was locked for longer than its handler has', async () => {
    const o = { handlerTimeoutMs: 100, retryTimeoutMs: 100 };
    const { consumer, state } = replica({ ordered: true, during: () => new Promise(() => {}), options: o });
    expect(await send(replica({ ordered: true }).consumer, 2)).toBe('done');
    await fixture().admin`UPDATE inbox_key SET last_seq = 1`;
    const unlock = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const holding = fixture().admin.begin(async (tx) => {
      await tx`SELECT FROM inbox_key FOR UPDATE`;
      locked.resolve();
      await unlock.promise;
    });
    await locked.promise;
    const given = consumer.drain(KEY);
    await pause(200);
    unlock.resolve();
    await Promise.all([holding, given]);
    await pause(200);
    const begun = state.tries;
    await start(consumer);
    await eventually(async () => expect([begun, await aside()]).toEqual([begun, ['k-2']]), 40_000);
    expect(begun, 'nobody would know that it failed').toBe(0);
  });
});
