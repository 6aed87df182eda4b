import { newTraceparent, runInContext, traceIdOf } from '@sidecart/kit/context';
import type { Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { seed } from '../../../tests/seed.ts';
import { buildEnvelope, receivedEnvelope, type StoredHeaders } from './envelope.ts';
import {
  catalog,
  eventually,
  type Fixture,
  type FixtureData,
  openFixture,
  openTransaction,
  outbox,
  owns,
  pause,
  placed,
  remind,
  reserve,
} from './fixture.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { createOutbox, MessageInvalidError, MessageTooLargeError } from './outbox.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('outbox');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

interface Row {
  id: string;
  slot: number;
  topic: string;
  msg_key: string;
  key_seq: string;
  event_id: string;
  type: string;
  payload: FixtureData;
  headers: Record<string, string>;
}

const rows = () => fixture.database.sql<Row[]>`SELECT * FROM outbox ORDER BY id`;

/** What must hold whenever nothing is under way: per topic and key, ids in the order of the numbers 1, 2, 3. */
async function expectGapless(): Promise<void> {
  const seen = new Map<string, number>();
  for (const row of await rows()) {
    const name = `${row.topic} ${row.msg_key}`;
    const next = (seen.get(name) ?? 0) + 1;
    expect(Number(row.key_seq), `${name} at id ${row.id}`).toBe(next);
    seen.set(name, next);
  }
}

describe('writing', () => {
  test('any number of messages is one statement; numbers follow the order of the call, per topic and key', async () => {
    const statements: string[] = [];
    const watched = postgres(fixture.urls.url, {
      max: 1,
      debug: (_, statement) => void statements.push(statement),
    });
    const db = drizzle(watched);
    await db.transaction(async (tx) => {
      await outbox.publish(tx, placed('b', 1), placed('a', 2), placed('b', 3));
      await outbox.send(tx, reserve('b', 4));
    });
    await watched.end();
    expect(statements.filter((s) => s.includes('outbox'))).toHaveLength(2);
    expect((await rows()).map((r) => [r.topic, r.msg_key, Number(r.key_seq), r.payload.n])).toEqual([
      ['orders', 'b', 1, 1],
      ['orders', 'a', 1, 2],
      ['orders', 'b', 2, 3],
      ['commands.inventory', 'b', 1, 4],
    ]);
  });

  test('the envelope carries who, why and the trace of the request', async () => {
    const traceparent = newTraceparent();
    const context = { traceparent, requestId: 'req-1', actor: 'user:7', customerId: 'c9' };
    await runInContext(context, () =>
      fixture.database.db.transaction((tx) =>
        outbox.publish(tx, placed('k', 1), { ...placed('k', 2), customerId: 'c1' }),
      ),
    );
    const [first, second] = await rows();
    expect(first?.headers).toMatchObject({
      actor: 'user:7',
      correlationid: 'req-1',
      causationid: 'req-1',
      customerid: 'c9',
    });
    expect(second?.headers.customerid).toBe('c1');
    expect(traceIdOf(first?.headers.traceparent ?? '')).toBe(traceIdOf(traceparent));
    expect(first?.headers.traceparent).not.toBe(traceparent);
    expect(first?.event_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(first?.headers).not.toHaveProperty('traceid');
  });

  test('nothing is written for no messages', async () => {
    await fixture.database.db.transaction((tx) => outbox.publish(tx));
    expect(await rows()).toEqual([]);
  });

  test('broken data, a foreign topic, the wrong kind and a missing transaction are refused before anything is written', async () => {
    await fixture.database.db.transaction(async (tx) => {
      const broken = { type: 'Placed' as const, data: { key: 'k', n: 0.5 } };
      const refusal = await outbox.publish(tx, placed('k', 1), broken).catch((err: unknown) => err);
      expect(refusal).toBeInstanceOf(MessageInvalidError);
      expect(refusal).toMatchObject({ code: 'message_invalid', type: 'Placed' });
      expect((refusal as Error).message).toMatch(/^Placed has data that breaks its schema:\n.*at n\nCure: /s);
      await expect(outbox.publish(tx, { type: 'Foreign', data: { key: 'k', n: 1 } })).rejects.toThrow(
        'may not publish',
      );
      // @ts-expect-error a command is not published
      await expect(outbox.publish(tx, reserve('k', 1))).rejects.toThrow('is no fact');
      await outbox.publish(tx, placed('still usable', 1));
    });
    // @ts-expect-error the pool is no transaction
    await expect(outbox.publish(fixture.database.db, placed('k', 1))).rejects.toThrow(
      'in the transaction of the change only',
    );
    expect((await rows()).map((r) => r.msg_key)).toEqual(['still usable']);
  });

  test('text that PostgreSQL cannot store is refused before anything is written, in one message or several, now or later', async () => {
    const Noted = {
      ...{ topic: 'orders', kind: 'fact' as const, schema: z.object({ text: z.string() }) },
      key: () => 'k',
    };
    const { publish } = createOutbox({ service: 'orders', catalog: { Noted }, owns: ['orders'] });
    const noted = (text: string) => ({ type: 'Noted' as const, data: { text } });
    await fixture.database.db.transaction(async (tx) => {
      for (const [text, named] of [
        ['NUL \0', '\\u0000'],
        ['half \ud83d', '\\ud83d'],
        ['other half \udc4d', '\\udc4d'],
        ['\\\0', '\\u0000'],
      ] as const)
        for (const facts of [
          [noted(text)],
          [noted('good'), noted(text)],
          [{ ...noted(text), delayMs: 1000 }],
        ]) {
          const refusal = await publish(tx, ...facts).catch((err: unknown) => err);
          expect(refusal).toMatchObject({ code: 'message_invalid', type: 'Noted' });
          expect((refusal as Error).message).toContain(`${named} in its data`);
        }
      await publish(tx, noted('written out: \\u0000 \\\\ud83d'), noted('whole: 👍 \u0001'));
    });
    expect(await rows()).toHaveLength(2);
  });

  test('a key that no receiver could read is refused before anything is written, by their own rule', async () => {
    const receivedKey = receivedEnvelope.shape.partitionkey;
    await fixture.database.db.transaction(async (tx) => {
      for (const key of ['', 'k'.repeat(513), 'line\nbreak', 'half \ud83d']) {
        await expect(outbox.publish(tx, placed(key, 1))).rejects.toThrow(
          /^The key of Placed is ".*", of length \d+: give a text of 1 to 512 characters/,
        );
        await expect(outbox.send(tx, { ...reserve(key, 1), delayMs: 1000 })).rejects.toThrow(
          'The key of Reserve',
        );
        await expect(outbox.send(tx, remind(key, 1))).rejects.toThrow('The key of Remind');
        expect(receivedKey.safeParse(key).success).toBe(false);
      }
      for (const key of ['k', 'k'.repeat(512), '\u{1f4d6}'.repeat(512)]) {
        await outbox.publish(tx, placed(key, 1));
        expect(receivedKey.safeParse(key).success).toBe(true);
      }
    });
    expect(await rows()).toHaveLength(3);
  });
});

describe('size', () => {
  const text = z.object({ key: z.string(), text: z.string() });
  const sizes = createOutbox({
    service: 'orders',
    catalog: {
      Long: { topic: 'orders', kind: 'fact', schema: text, key: (d) => d.key },
      LongRemind: { topic: 'self', kind: 'command', schema: text, key: (d) => d.key },
    },
    owns: ['orders'],
    handles: () => ({ ordered: true }),
  });
  const long = (text: string) => ({ type: 'Long' as const, data: { key: 'k', text } });
  const publish = (...texts: string[]) =>
    fixture.database.db.transaction((tx) => sizes.publish(tx, ...texts.map(long)));

  test('a message that the sidecar would not take is refused before the commit, with its size, the limit and the cure', async () => {
    const tooLong = 'x'.repeat(MAX_MESSAGE_BYTES);
    const err = await publish('short', tooLong).catch((caught: unknown) => caught);
    expect(err).toBeInstanceOf(MessageTooLargeError);
    expect(err).toMatchObject({ code: 'message_too_large', type: 'Long', limit: MAX_MESSAGE_BYTES });
    expect((err as MessageTooLargeError).bytes).toBeGreaterThan(MAX_MESSAGE_BYTES);
    expect((err as MessageTooLargeError).message).toMatch(/Long is \d+ bytes .* Cure: store the data/);
    await expect(
      fixture.database.db.transaction((tx) => sizes.publish(tx, { ...long(tooLong), delayMs: 1000 })),
    ).rejects.toThrow(MessageTooLargeError);
    expect(await rows()).toEqual([]);
  });

  test('bytes count, not characters, and what is let through fits the sidecar as a whole envelope', async () => {
    const room = MAX_MESSAGE_BYTES - 2000;
    await expect(publish('\u20ac'.repeat(room / 3 + 1000))).rejects.toThrow(MessageTooLargeError);
    await publish('\u20ac'.repeat(Math.floor(room / 3)));
    const [row] = await rows();
    const envelope = buildEnvelope('orders', {
      topic: 'orders',
      msgKey: row?.msg_key ?? '',
      eventId: row?.event_id ?? '',
      keySeq: row?.key_seq ?? '',
      type: row?.type ?? '',
      payload: row?.payload,
      headers: row?.headers as unknown as StoredHeaders,
    });
    const bytes = Buffer.byteLength(JSON.stringify(envelope));
    expect(bytes).toBeGreaterThan(MAX_MESSAGE_BYTES - 4000);
    expect(bytes).toBeLessThan(4 * 1024 * 1024 - 60_000);
  });

  // JSON.stringify writes them as they are; Go, in which the sidecar is written, as \u003c.
  test.each([
    ['<', '<'],
    ['>', '>'],
    ['&', '&'],
    ['U+2028', '\u2028'],
    ['U+2029', '\u2029'],
  ])('a %s is six bytes as the sidecar writes it, and six count', async (_, character) => {
    const room = (MAX_MESSAGE_BYTES - 2000) / 6;
    await publish(character.repeat(room));
    await expect(publish(character.repeat(room + 1000))).rejects.toThrow(MessageTooLargeError);
  });

  test('what goes through no sidecar may be larger', async () => {
    const data = { key: 'k', text: 'x'.repeat(MAX_MESSAGE_BYTES) };
    await fixture.database.db.transaction((tx) => sizes.send(tx, { type: 'LongRemind', data }));
    const [row] = await fixture.admin`SELECT length(payload->>'text') AS length FROM outbox_local`;
    expect(row?.length).toBe(MAX_MESSAGE_BYTES);
  });
});

test('all of a call is one statement, wherever it goes', async () => {
  const statements: string[] = [];
  const watched = postgres(fixture.urls.url, {
    max: 1,
    debug: (_, statement) => void statements.push(statement),
  });
  await drizzle(watched).transaction((tx) =>
    outbox.send(
      tx,
      reserve('k', 1),
      remind('k', 2),
      { ...reserve('k', 3), delayMs: 1000 },
      remind('k', 4),
      reserve('k', 5),
    ),
  );
  await watched.end();
  expect(statements.filter((s) => s.includes('outbox'))).toHaveLength(1);
  const numbers = (table: string) =>
    fixture.admin`SELECT (payload->>'n')::int AS n, key_seq::int AS seq FROM ${fixture.admin(table)} ORDER BY id`;
  expect([...(await numbers('outbox'))]).toEqual([
    { n: 1, seq: 1 },
    { n: 5, seq: 2 },
  ]);
  expect([...(await numbers('outbox_local'))]).toEqual([
    { n: 2, seq: 1 },
    { n: 4, seq: 2 },
  ]);
  const [delayed] = await fixture.admin`SELECT topic, (payload->>'n')::int AS n FROM outbox_delayed`;
  expect(delayed).toEqual({ topic: 'commands.inventory', n: 3 });
});

describe('messages to oneself whose handler wants no order', () => {
  const unordered = createOutbox({ service: 'orders', catalog, owns, handles: () => ({ ordered: false }) });

  /** Writes for a key while another transaction that wrote for it is open. */
  async function besideAnOpenOne(writer: typeof outbox): Promise<void> {
    const commit = await openTransaction(fixture.database, (tx) => writer.send(tx, remind('k', 1)));
    try {
      await fixture.database.db.transaction(async (tx) => {
        await tx.execute(sql`SET LOCAL lock_timeout = '100ms'`);
        await writer.send(tx, remind('k', 2));
      });
    } finally {
      await commit();
    }
  }

  test('have no number, and no writer waits for another', async () => {
    await besideAnOpenOne(unordered);
    expect(
      await fixture.admin`SELECT (payload->>'n')::int AS n, key_seq::int AS seq FROM outbox_local ORDER BY id`,
    ).toEqual([
      { n: 1, seq: 0 },
      { n: 2, seq: 0 },
    ]);
    expect(await fixture.admin`SELECT FROM outbox_sequence`).toHaveLength(0);
  });

  test('control: those whose handler wants it are counted, and the second writer of a key waits', async () => {
    await expect(besideAnOpenOne(outbox)).rejects.toMatchObject({ cause: { code: '55P03' } });
  });

  test('go with the others of a call in one statement', async () => {
    await fixture.database.db.transaction((tx) => unordered.send(tx, reserve('k', 1), remind('k', 2)));
    expect(await rows()).toMatchObject([{ key_seq: '1' }]);
    expect(await fixture.admin`SELECT key_seq::int AS seq FROM outbox_local`).toEqual([{ seq: 0 }]);
  });
});

/** One step of a business transaction: a change with its message, maybe inside a savepoint that is rolled back. */
const step = fc.record({
  key: fc.constantFrom('a', 'b', 'c'),
  undone: fc.boolean(),
  topic: fc.constantFrom('Placed' as const, 'Reserve' as const),
});
const transactions = fc.array(
  fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 4 }), rollback: fc.boolean() }),
  { minLength: 2, maxLength: 12 },
);
type Step = { key: string; undone: boolean; topic: 'Placed' | 'Reserve' };
type Publish = (tx: Transaction, step: Step, n: number) => Promise<void>;

const inTransaction: Publish = (tx, { key, topic }, n) =>
  topic === 'Placed' ? outbox.publish(tx, placed(key, n)) : outbox.send(tx, reserve(key, n));

class Undo extends Error {}
const unlessUndone = (err: unknown) => {
  if (!(err instanceof Undo)) throw err;
};

/** Runs the transactions all at once. A change and its message have the same number `n`. */
async function runAll(all: { steps: Step[]; rollback: boolean }[], publish: Publish): Promise<void> {
  let n = 0;
  const change = async (tx: Transaction, step: Step) => {
    n += 1;
    const number = n;
    await tx.execute(sql`INSERT INTO effect VALUES (${number})`);
    await publish(tx, step, number);
    if (step.undone) throw new Undo();
  };
  await Promise.all(
    all.map(({ steps, rollback }) =>
      fixture.database.db
        .transaction(async (tx) => {
          // in the order of the keys, as one call does by itself
          for (const s of [...steps].sort((a, b) => (a.topic + a.key < b.topic + b.key ? -1 : 1))) {
            await tx.transaction((savepoint) => change(savepoint, s)).catch(unlessUndone);
          }
          if (rollback) throw new Undo();
        })
        .catch(unlessUndone),
    ),
  );
}

/** Changes without a message and messages without a change. */
async function differences(): Promise<{ lost: number[]; invented: number[] }> {
  const changes = (await fixture.database.sql<{ n: number }[]>`SELECT n FROM effect`).map((r) => r.n);
  const messages = (await rows()).map((r) => r.payload.n);
  return {
    lost: changes.filter((n) => !messages.includes(n)),
    invented: messages.filter((n) => !changes.includes(n)),
  };
}

describe('with the change or not at all', () => {
  test('whatever commits has its messages, whatever is rolled back has none, numbers have no gaps', async () => {
    await fc.assert(
      fc
        .asyncProperty(transactions, async (all) => {
          await runAll(all, inTransaction);
          expect(await differences()).toEqual({ lost: [], invented: [] });
          await expectGapless();
        })
        .beforeEach(() => fixture.clear()),
      { seed, numRuns: 25 },
    );
  });

  test('control: a message written outside the transaction is lost or invented', async () => {
    const outside: Publish = (_, step, n) =>
      fixture.database.db.transaction((tx) => inTransaction(tx, step, n));
    const all = [{ steps: [{ key: 'a', undone: false, topic: 'Placed' as const }], rollback: true }];
    await runAll(all, outside);
    expect((await differences()).invented).toEqual([1]);

    await fixture.clear();
    const processDies: Publish = async () => {}; // between the commit of the change and the write of the message
    await runAll(
      [{ ...all[0], steps: [{ key: 'a', undone: false, topic: 'Placed' }], rollback: false }],
      processDies,
    );
    expect((await differences()).lost).toEqual([1]);
  });
});

describe('order', () => {
  test('two calls for the same keys in opposite orders end without a deadlock', async () => {
    const refused = await crossTwoWriters((tx, keys) =>
      outbox.publish(tx, ...keys.map((key, n) => placed(key, n))),
    );
    expect(refused).toEqual([]);
    expect(await rows()).toHaveLength(7);
    await expectGapless();
  });

  test('control: with a call for each key, locked in the order of the calls, they are a deadlock', async () => {
    const refused = await crossTwoWriters(async (tx, keys) => {
      for (const key of keys) await outbox.publish(tx, placed(key, 1));
    });
    expect(refused).toEqual([expect.objectContaining({ cause: expect.objectContaining({ code: '40P01' }) })]);
    await expectGapless();
  });

  test('the second writer of a key waits for the first and gets the higher id', async () => {
    expect(await idsOfTwoWriters((tx, n) => outbox.publish(tx, placed('k', n)))).toEqual({
      waited: true,
      order: [1, 2],
    });
  });

  test('control: with the id taken before the counter the later number has the lower id', async () => {
    const idFirst = async (tx: Transaction, n: number) => {
      const [taken] = await tx.execute<{ id: string }>(sql`
        INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
        VALUES (0, 'orders', 'k', gen_random_uuid(), 0, 'Placed', ${JSON.stringify({ key: 'k', n })}, '{}') RETURNING id`);
      if (n === 1) await pause(100); // the other one overtakes here
      await tx.execute(sql`
        WITH counter AS (
          INSERT INTO outbox_sequence AS s VALUES ('orders', 'k', 1)
          ON CONFLICT (topic, msg_key) DO UPDATE SET last = s.last + 1 RETURNING last)
        UPDATE outbox SET key_seq = (SELECT last FROM counter) WHERE id = ${taken?.id}`);
    };
    const first = fixture.database.db.transaction((tx) => idFirst(tx, 1));
    await pause(30);
    await fixture.database.db.transaction((tx) => idFirst(tx, 2));
    await first;
    expect((await rows()).map((r) => Number(r.key_seq))).toEqual([2, 1]);
    await expect(expectGapless()).rejects.toThrow();
  });

  /**
   * Two transactions write for a, m and z from opposite ends while a third one holds m: when both wait, each has
   * what the other is going to want, unless both began with the same key. Then m is given free. Returns why
   * transactions were refused.
   */
  async function crossTwoWriters(write: (tx: Transaction, keys: string[]) => Promise<void>) {
    const { db } = fixture.database;
    let writers: Promise<PromiseSettledResult<void>[]> | undefined;
    await db.transaction(async (gate) => {
      await outbox.publish(gate, placed('m', 0));
      writers = Promise.allSettled(
        [
          ['a', 'm', 'z'],
          ['z', 'm', 'a'],
        ].map((keys) => db.transaction((tx) => write(tx, keys))),
      );
      await eventually(async () => expect(await waitingForLocks()).toBe(2));
    });
    const ends = (await writers) ?? [];
    return ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
  }

  async function waitingForLocks(): Promise<number> {
    const waiting = await fixture.admin`
      SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    return waiting.length;
  }

  async function idsOfTwoWriters(write: (tx: Transaction, n: number) => Promise<void>) {
    const commit = await openTransaction(fixture.database, (tx) => write(tx, 1));
    let secondDone = false;
    const second = fixture.database.db
      .transaction((tx) => write(tx, 2))
      .then(() => {
        secondDone = true;
      });
    await pause(100);
    const waited = !secondDone;
    await Promise.all([commit(), second]);
    return { waited, order: (await rows()).map((r) => r.payload.n) };
  }
});
