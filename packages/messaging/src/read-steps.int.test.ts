import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Fixture, openFixture } from './fixture.ts';
import { behind, fillLong, LONG, slot } from './fixture-long-key.ts';
import { readerOptions, readLimit } from './fixture-reader.ts';
import { openLocalSession } from './local-session.ts';
import { openSession } from './relay-session.ts';
import type { SlotPart } from './slot-read.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('readsteps');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

/** Reads on until there is no more. */
async function readAll(read: (after: Map<number, bigint>) => Promise<Map<number, SlotPart>>) {
  const parts: SlotPart[] = [];
  for (let after = 0n, more = true; more; ) {
    const part = (await read(new Map([[slot, after]]))).get(slot) as SlotPart;
    parts.push(part);
    ({ to: after, more } = part);
  }
  return parts.map(({ rows, inSteps }) => ({ keys: rows.map(({ msgKey }) => msgKey), inSteps }));
}

/** Two reads pass what is left out, the third comes to the end. */
const inThreeSteps = [
  { keys: [], inSteps: true },
  { keys: [], inSteps: true },
  { keys: [behind], inSteps: false },
];

test('a relay passes what is left out in steps, and finds what is behind it', async () => {
  await fillLong(fixture, 'outbox', 'Placed');
  const session = await openSession(readerOptions(fixture));
  try {
    const long = [{ topic: 'orders', key: 'long' }];
    expect(await readAll((after) => session.read(after, { topics: [], keys: long }, readLimit))).toEqual(
      inThreeSteps,
    );
    expect(
      await readAll((after) => session.read(after, { topics: ['orders'], keys: [] }, readLimit)),
    ).toEqual(inThreeSteps.map((part) => ({ ...part, keys: [] })));
    // And of one key of a topic alone, which has two rows more than a read may take.
    await fixture.admin`UPDATE outbox SET topic = 'products' WHERE key_seq = 3 AND msg_key = 'long'`;
    const other = { topic: 'products', key: 'long', slot, after: 0n };
    expect((await session.readKeys([other], readLimit))[0]?.rows.map(({ keySeq }) => keySeq)).toEqual(['3']);
    const place = { topic: 'orders', key: 'long', slot, after: BigInt(LONG - 102) };
    const [part] = await session.readKeys([place], readLimit);
    expect(part).toMatchObject({ to: BigInt(LONG - 2), more: true, inSteps: false });
    const [rest] = await session.readKeys([{ ...place, after: part?.to ?? 0n }], readLimit);
    expect(rest).toMatchObject({ to: BigInt(LONG + 1), more: false });
    expect(rest?.rows.map(({ keySeq }) => keySeq)).toEqual([String(LONG - 1), String(LONG)]);
  } finally {
    await session.close();
  }
});

test('a local worker does, past keys that fail and past those that a dead letter holds', async () => {
  await fillLong(fixture, 'outbox_local', 'Remind');
  const session = await openLocalSession(readerOptions(fixture));
  try {
    expect(await readAll((after) => session.read(after, ['long'], readLimit))).toEqual(inThreeSteps);
    await fixture.admin`
      INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key)
      VALUES ('self', 'e', 'T', 'long', '', '{}', 'invariant', 'never', 1, true)`;
    expect(await readAll((after) => session.read(after, [], readLimit))).toEqual(inThreeSteps);
  } finally {
    await session.close();
  }
});
