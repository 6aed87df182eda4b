import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CONDENSED } from './aggregate.ts';
import type { ArchiveStore } from './archive.ts';
import { archiveElsewhere, type Fixture, openFixture, openTransaction } from './fixture.ts';
import { condenseByPolicy, condensePage, type PolicyOutcome } from './policy.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('policy');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const HOUR_MS = 3_600_000;
const decision = { by: 'ana', reason: 'it is old' };
const policy = { ageMs: HOUR_MS, events: 5 };
const condense = (change: Partial<typeof policy & { closed: boolean }> = {}) =>
  condenseByPolicy(fixture.deps, { ...policy, ...change }, decision);
const outcome = (o: Partial<PolicyOutcome>): PolicyOutcome => ({
  condensed: 0,
  events: 0,
  open: 0,
  refused: {},
  ...o,
});
const age = (id: string) =>
  fixture.admin`UPDATE streams SET last_at = last_at - interval '2 hours' WHERE stream_id = ${id}`;

/** An account that was opened, used and closed: so many events. */
async function closed(id: string, events = 6) {
  await fixture.fill(id, events - 1);
  await fixture.run(id, { type: 'Close' });
}

describe('condensing by policy', () => {
  it('takes what is old, long and closed, and tells the rest', async () => {
    await closed('old');
    await closed('older', 10);
    await closed('young');
    await closed('short', 4);
    await fixture.fill('open', 8);
    for (const id of ['old', 'older', 'short', 'open']) await age(id);
    expect(await condense()).toEqual(outcome({ condensed: 2, events: 16, open: 1 }));
    const left =
      await fixture.admin`SELECT DISTINCT stream_id FROM events WHERE type <> ${CONDENSED} ORDER BY 1`;
    expect(left.map(({ stream_id }) => stream_id)).toEqual(['open', 'short', 'young']);
  });

  it('takes open ones too when it is told to, and none again that has nothing new', async () => {
    await fixture.fill('open', 8);
    await age('open');
    expect(await condense({ closed: false })).toEqual(outcome({ condensed: 1, events: 8 }));
    await fixture.run('open', { type: 'Deposit', pence: 1, times: 4 });
    await age('open');
    expect(await condense({ closed: false })).toEqual(outcome({}));
    await fixture.run('open', { type: 'Deposit', pence: 1 });
    await age('open');
    expect(await condense({ closed: false })).toEqual(outcome({ condensed: 1, events: 5 }));
  });

  it('goes on at what is refused, and reports it by its code', async () => {
    for (const id of ['a', 'b', 'c', 'd']) {
      await closed(id);
      await age(id);
    }
    await fixture.admin`INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
      SELECT 0, 'accounts', key, '01a2b3c4-0000-7000-8000-000000000000', 1, 'T', '{}', '{}' FROM unnest('{a,b}'::text[]) AS key`;
    await fixture.admin`UPDATE events SET schema_version = 9 WHERE stream_id = 'c' AND version = 1`;
    expect(await condense()).toEqual(
      outcome({
        condensed: 1,
        events: 6,
        refused: {
          message_unsent: { streams: 2, example: 'a' },
          unknown_shape: { streams: 1, example: 'c' },
        },
      }),
    );
  });

  it('puts nothing away for what is refused', async () => {
    for (const id of ['a', 'b']) {
      await closed(id);
      await age(id);
    }
    await fixture.admin`INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
      VALUES (now() + interval '1 day', 'self', 'a', '01a2b3c4-0000-7000-8000-000000000000', 'T', '{}', '{}')`;
    const { store, kept } = archiveElsewhere();
    const done = await condenseByPolicy({ ...fixture.deps, archive: store }, policy, decision);
    expect(done).toEqual(
      outcome({ condensed: 1, events: 6, refused: { message_unsent: { streams: 1, example: 'a' } } }),
    );
    expect([...kept.keys()]).toEqual([expect.stringMatching(/^b\//)]);
  });

  it('calls busy what others hold for too long, and goes on', async () => {
    for (const id of ['a', 'b']) {
      await closed(id);
      await age(id);
    }
    const end = await openTransaction(fixture.database, (tx) =>
      fixture.store.handle(tx, 'a', { type: 'Deposit', pence: 1 }),
    );
    expect(await condense()).toEqual(
      outcome({ condensed: 1, events: 6, refused: { busy: { streams: 1, example: 'a' } } }),
    );
    await end();
  });

  it('ends when the archive takes nothing: it would be the same with the next', async () => {
    await closed('a');
    await age('a');
    const archive: ArchiveStore = {
      put: () => Promise.reject(new Error('full')),
      get: () => Promise.reject(),
    };
    await expect(condenseByPolicy({ ...fixture.deps, archive }, policy, decision)).rejects.toMatchObject({
      code: 'archive_unavailable',
    });
  });

  it('wants to know when a thing is closed', async () => {
    const { isClosed: _, ...aggregate } = fixture.deps.aggregate;
    const deps = { ...fixture.deps, aggregate };
    await expect(condenseByPolicy(deps, policy, decision)).rejects.toMatchObject({ code: 'closed_unknown' });
    expect(await condenseByPolicy(deps, { ...policy, closed: false }, decision)).toEqual(outcome({}));
  });

  it('leaves streams of another type alone', async () => {
    await closed('a');
    await age('a');
    await fixture.admin`UPDATE streams SET type = 'other'`;
    expect(await condense()).toEqual(outcome({}));
  });

  it('walks in pages, which whoever asks can take one by one', async () => {
    await fixture.admin`INSERT INTO streams (stream_id, type, version) SELECT 's' || i, 'account', 1 FROM generate_series(1, 1200) AS i`;
    await closed('s500x');
    await age('s500x');
    const pages = [];
    for (let after: string | null = ''; after !== null; ) {
      const page: PolicyOutcome & { next: string | null } = await condensePage(
        fixture.deps,
        policy,
        decision,
        after,
      );
      pages.push(page.condensed);
      after = page.next;
    }
    expect(pages).toHaveLength(3);
    expect(pages.reduce((sum, n) => sum + n, 0)).toBe(1);
    let told = 0;
    await condenseByPolicy(fixture.deps, policy, decision, () => told++);
    expect(told).toBe(3);
  });

  it('ends a page early when its time is over, where the archive is far away, and goes on at the next stream', async () => {
    const ids = ['a', 'b', 'c'];
    for (const id of ids) {
      await closed(id);
      await age(id);
    }
    const page = (after: string) => condensePage(fixture.deps, policy, decision, after, 0);
    expect(await page('')).toEqual({ ...outcome({ condensed: 1, events: 6 }), next: 'a' });
    expect(await page('a')).toEqual({ ...outcome({ condensed: 1, events: 6 }), next: 'b' });
    expect(await page('b')).toEqual({ ...outcome({ condensed: 1, events: 6 }), next: null });
  });
});
