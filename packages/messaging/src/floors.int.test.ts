import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Fixture, openFixture, openTransaction, outbox, pause, placed, remind } from './fixture.ts';
import { makeDeadRows, openElsewhere, openReaderHere } from './fixture-dead-rows.ts';
import { createFloors, type Floors, type Queue } from './floors.ts';
import { slotOf } from './slot.ts';
import type { Run } from './slot-session.ts';

let fixture: Fixture;
let connection: postgres.Sql;

beforeAll(async () => {
  fixture = await openFixture('floors');
  connection = postgres(fixture.urls.url, { max: 1 });
});
afterAll(async () => {
  await connection?.end();
  await fixture?.close();
});
beforeEach(() => fixture.clear());

const run: Run = async (statement) => statement(connection);
const slot = slotOf('k');
const queues = [
  { queue: 'outbox' as const, message: placed('k', 1) },
  { queue: 'outbox_local' as const, message: remind('k', 1) },
];

async function lastIdOf(queue: Queue): Promise<bigint> {
  const [row] = await fixture.admin<{ id: string | null }[]>`
    SELECT pg_sequence_last_value(pg_get_serial_sequence(${queue}, 'id')::regclass)::text AS id`;
  return BigInt(row?.id ?? 0);
}

/** Once a second is what they are raised at most. */
async function raised(floors: Floors): Promise<bigint> {
  await pause(1050);
  await floors.raise([slot]);
  return floors.of(slot);
}

type Message = ReturnType<typeof placed> | ReturnType<typeof remind>;
const write = (message: Message) => fixture.database.db.transaction((tx) => writeIn(tx, message));
const writeIn = (tx: Parameters<typeof outbox.publish>[0], message: Message) =>
  message.type === 'Placed' ? outbox.publish(tx, message) : outbox.send(tx, message);

describe.each(queues)('of $queue', ({ queue, message }) => {
  test('is the last id where nothing waits, and the id before the first row where something does', async () => {
    const floors = createFloors(run, queue);
    await floors.raise([slot]);
    expect(floors.of(slot)).toBe(await lastIdOf(queue));
    await write(message);
    const id = await lastIdOf(queue);
    await write(message);
    expect(await raised(floors)).toBe(id - 1n);
    await fixture.admin`DELETE FROM ${fixture.admin(queue)} WHERE id = ${String(id)}::bigint`;
    expect(await raised(floors)).toBe(id);
  });

  test('stays below what a transaction has written until that has ended, however much is written meanwhile', async () => {
    const commit = await openTransaction(fixture.database, (tx) => writeIn(tx, message));
    const id = await lastIdOf(queue);
    const floors = createFloors(run, queue);
    await floors.raise([slot]);
    expect(floors.of(slot)).toBeLessThan(id);
    await write({ ...message, data: { key: 'other', n: 1 } });
    expect(await raised(floors)).toBeLessThan(id);
    await commit();
    expect(await raised(floors)).toBe(id - 1n);
    await fixture.admin`DELETE FROM ${fixture.admin(queue)}`;
    expect(await raised(floors)).toBe(await lastIdOf(queue));
  });

  test('stays below what a transaction has written that is prepared meanwhile', async () => {
    const end = await openTransaction(fixture.database, (tx) => writeIn(tx, message));
    const id = await lastIdOf(queue);
    const floors = createFloors(run, queue);
    await floors.raise([slot]);
    await end((tx) => tx.execute(`PREPARE TRANSACTION 'floors'`));
    try {
      await write({ ...message, data: { key: 'other', n: 1 } });
      for (let looks = 0; looks < 2; looks += 1) expect(await raised(floors)).toBeLessThan(id);
    } finally {
      await fixture.admin`COMMIT PREPARED 'floors'`;
    }
    expect(await raised(floors)).toBe(id - 1n);
  });

  test('control: who does not look at the writers passes it', async () => {
    const commit = await openTransaction(fixture.database, (tx) => writeIn(tx, message));
    const floors = createFloors(run, queue, { writers: async () => new Set() });
    await floors.raise([slot]);
    await commit();
    const [row] = await fixture.admin<{ id: string }[]>`SELECT id::text FROM ${fixture.admin(queue)}`;
    expect(floors.of(slot)).toBeGreaterThanOrEqual(BigInt(row?.id ?? 0));
  });
});

describe('ids that somebody writes by hand below a floor', () => {
  const insert = (id: bigint) => fixture.admin`
    INSERT INTO outbox_local (id, slot, msg_key, event_id, key_seq, type, payload, headers) OVERRIDING SYSTEM VALUE
    VALUES (${String(id)}::bigint, ${slot}, 'k', gen_random_uuid(), 1, 'T', '{}', '{}')`;

  test('are found once the slot is looked at from its start, which each is in its turn', async () => {
    for (let i = 0; i < 3; i += 1) await write(remind('k', i));
    await fixture.admin`DELETE FROM outbox_local`;
    const floors = createFloors(run, 'outbox_local', { doubtMs: 5000 });
    const begun = performance.now();
    await floors.raise([slot]);
    const id = floors.of(slot) - 1n;
    await insert(id);
    if (performance.now() - begun < 3500) expect(await raised(floors)).toBeGreaterThan(id);
    await pause(4500);
    expect(await raised(floors)).toBe(id - 1n);
  });

  test('as after a sequence that begins anew, at once', async () => {
    for (let i = 0; i < 3; i += 1) await write(remind('k', i));
    await fixture.admin`DELETE FROM outbox_local`;
    const floors = createFloors(run, 'outbox_local');
    await floors.raise([slot]);
    await fixture.admin`TRUNCATE outbox_local RESTART IDENTITY`;
    await write(remind('k', 4));
    expect(await raised(floors)).toBe(0n);
  });
});

test.for([
  ['one that has an id, elsewhere on the server', openElsewhere],
  ['one that only reads', openReaderHere],
] as const)(
  'what cannot be vacuumed is passed once, whatever transaction keeps it: %s',
  async ([, keeper]) => {
    const dead = await makeDeadRows(fixture, { queue: 'outbox_local', slot, rows: 5000, keeper });
    const own = postgres(fixture.urls.url, { max: 1, connection: { enable_seqscan: 'off' } });
    const floors = createFloors(async (statement) => statement(own), 'outbox_local');
    for (let i = 0; i < 4; i += 1) await raised(floors);
    expect(floors.of(slot)).toBe(await lastIdOf('outbox_local'));
    await own.end(); // which is when a session says what it has counted
    const times = await dead.passed();
    expect(times).toBeGreaterThanOrEqual(1);
    expect(times).toBeLessThan(2);
    await dead.release();
  },
);
