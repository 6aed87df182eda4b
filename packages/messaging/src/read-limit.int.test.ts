import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type Fixture, openFixture } from './fixture.ts';
import { readerOptions } from './fixture-reader.ts';
import { openLocalSession } from './local-session.ts';
import { createOutbox } from './outbox.ts';
import { openSession } from './relay-session.ts';
import { slotOf } from './slot.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('readlimit');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const schema = z.object({ key: z.string(), text: z.string() });
const outbox = createOutbox({
  service: 'orders',
  catalog: {
    Fact: { topic: 'orders', kind: 'fact', schema, key: (data) => data.key },
    Own: { topic: 'self', kind: 'command', schema, key: (data) => data.key },
  },
  owns: ['orders'],
  handles: () => ({ ordered: true }),
});
const KB = 1000;
const slot = slotOf('k');

/** For one key, a message of so many bytes each. */
async function write(...bytes: number[]): Promise<void> {
  await fixture.database.db.transaction(async (tx) => {
    const all = bytes.map((n) => ({ key: 'k', text: 'x'.repeat(n) }));
    await outbox.publish(tx, ...all.map((data) => ({ type: 'Fact' as const, data })));
    await outbox.send(tx, ...all.map((data) => ({ type: 'Own' as const, data })));
  });
}

/** How many rows both readers take of the slot, and whether they know that there may be more. */
async function taken(limit: { rows: number; bytes: number }): Promise<{ rows: number; more: boolean }[]> {
  const options = readerOptions(fixture);
  const [relay, local] = await Promise.all([openSession(options), openLocalSession(options)]);
  try {
    const after = new Map([[slot, 0n]]);
    const reads = [
      await relay.read(after, { topics: ['products'], keys: [] }, limit),
      await local.read(after, ['other'], limit),
    ];
    return reads.map((parts) => {
      const { rows = [], more = false, to } = parts.get(slot) ?? {};
      expect(to, 'no row is passed that was not taken').toBe(rows.at(-1)?.id);
      return { rows: rows.length, more };
    });
  } finally {
    await Promise.all([relay.close(), local.close()]);
  }
}

const both = (rows: number, more: boolean) => [
  { rows, more },
  { rows, more },
];

test('a read takes so many rows of a slot, or so many bytes, whatever comes first', async () => {
  await write(100 * KB, 100 * KB, 100 * KB, 100 * KB, 100 * KB);
  expect(await taken({ rows: 100, bytes: 250 * KB })).toEqual(both(3, true));
  expect(await taken({ rows: 2, bytes: 250 * KB })).toEqual(both(2, true));
  expect(await taken({ rows: 100, bytes: 10_000 * KB })).toEqual(both(5, false));
});

test('one row is taken however large it is, and counts with all its bytes, not with what compression leaves', async () => {
  await write(3000 * KB, 1 * KB);
  expect(await taken({ rows: 100, bytes: 250 * KB })).toEqual(both(1, true));
});
