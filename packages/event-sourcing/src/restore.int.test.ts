import { connectDatabase, isTransientDbError } from '@sidecart/kit/db';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { CONDENSED } from './aggregate.ts';
import { type ArchiveStore, pack, tableArchive } from './archive.ts';
import { condenseStream } from './condense.ts';
import { archiveElsewhere, eventually, type Fixture, openFixture } from './fixture.ts';
import { restoreStream } from './restore.ts';
import { beginBuilding } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('restore');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const decision = { by: 'ana', reason: 'it is asked for' };
const condense = (id: string, upTo?: number) => condenseStream(fixture.deps, id, decision, upTo);
const restore = (id: string, archive: ArchiveStore = tableArchive, database = fixture.database) =>
  restoreStream({ database, archive }, id, decision);
const load = (id: string) => fixture.store.load(fixture.database.db, id);
/** Every column of every event but the transaction, as PostgreSQL writes it. */
const rows = async (id: string) => [
  ...(await fixture.admin`
    SELECT (to_jsonb(e) - 'xid')::text AS row FROM events e WHERE stream_id = ${id} ORDER BY version`),
];

describe('restoring', () => {
  it('brings back the very rows, at their versions and positions, and goes on', async () => {
    await fixture.fill('a', 20);
    const before = await rows('a');
    await condense('a');
    expect(await restore('a')).toEqual({ streamId: 'a', fromVersion: 1, toVersion: 20, more: 0 });
    expect(await rows('a')).toEqual(before);
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    expect(await load('a')).toMatchObject({ version: 21, state: { balance: 20 } });
    const [archive] =
      await fixture.admin`SELECT restored_by, restore_reason, restored_at FROM events_archive`;
    expect(archive).toEqual({
      restored_by: 'ana',
      restore_reason: 'it is asked for',
      restored_at: expect.any(Date),
    });
  });

  it('undoes one condensing at a time, the newest first', async () => {
    await fixture.fill('a', 10);
    await condense('a');
    await fixture.run('a', { type: 'Deposit', pence: 1, times: 5 });
    const once = await rows('a');
    await condense('a');
    expect(await restore('a')).toMatchObject({ fromVersion: 10, toVersion: 15, more: 1 });
    expect(await rows('a')).toEqual(once);
    const [stream] = await fixture.admin`SELECT condensed_version::int AS n FROM streams`;
    expect(stream?.n).toBe(10);
    expect(await restore('a')).toMatchObject({ fromVersion: 1, toVersion: 10, more: 0 });
    expect((await fixture.rows('a')).map(({ version }) => version)).toEqual(
      Array.from({ length: 15 }, (_, i) => i + 1),
    );
  });

  it('can be done again and again', async () => {
    await fixture.fill('a', 10);
    const before = await rows('a');
    for (let i = 0; i < 3; i++) {
      await condense('a');
      await restore('a');
    }
    expect(await rows('a')).toEqual(before);
    expect(await fixture.admin`SELECT FROM events_archive WHERE restored_at IS NULL`).toHaveLength(0);
  });

  it('keeps what numbers and instants say to the last digit', async () => {
    await fixture.fill('a', 3);
    await fixture.admin`UPDATE events SET at = '2026-03-29 01:59:59.999999+00', pos = 9007199254740993,
      data = '{"pence": 12345678901234567890.10, "note": "ä\\u0007 \\"x\\""}' WHERE version = 2`;
    const before = await rows('a');
    await condense('a');
    await restore('a');
    expect(await rows('a')).toEqual(before);
  });

  it('of a long stream is done in statements of a length, as one for all would outlast its deadline', async () => {
    for (let i = 0; i < 3; i++) await fixture.run('a', { type: 'Deposit', pence: 1, times: 1500 });
    const before = await rows('a');
    await condense('a');
    await fixture.admin`CREATE TABLE inserted (n int)`;
    await fixture.admin`CREATE FUNCTION count_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
      BEGIN INSERT INTO inserted SELECT count(*) FROM added; RETURN NULL; END $$`;
    await fixture.admin`CREATE TRIGGER count_inserted AFTER INSERT ON events REFERENCING NEW TABLE AS added
      FOR EACH STATEMENT EXECUTE FUNCTION count_inserted()`;
    onTestFinished(async () => {
      await fixture.admin`DROP FUNCTION count_inserted() CASCADE`;
      await fixture.admin`DROP TABLE inserted`;
    });
    await restore('a');
    expect([...(await fixture.admin`SELECT n FROM inserted`)]).toEqual([
      { n: 2000 },
      { n: 2000 },
      { n: 500 },
    ]);
    expect(await rows('a')).toEqual(before);
  });

  it('makes no read model see an event twice', async () => {
    fixture.project();
    await fixture.fill('a', 10);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 10 }]));
    await condense('a');
    await restore('a');
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    await eventually(async () =>
      expect(await fixture.balances()).toMatchObject([{ events: 11, disorder: 0 }]),
    );
  });

  it('control: events that come back as new ones are seen twice', async () => {
    fixture.project();
    await fixture.fill('a', 10);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 10 }]));
    await fixture.admin`UPDATE events SET xid = pg_current_xact_id()`;
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 20 }]));
  });
});

describe('restoring is refused, and nothing is changed,', () => {
  async function refused(code: string, work: () => Promise<unknown>) {
    const everything = async () => [
      ...(await fixture.admin`SELECT to_jsonb(e) AS row FROM events e ORDER BY pos`),
      ...(await fixture.admin`SELECT to_jsonb(s) AS row FROM streams s`),
      ...(await fixture.admin`SELECT to_jsonb(a) AS row FROM events_archive a ORDER BY id`),
    ];
    const before = await everything();
    await expect(work()).rejects.toMatchObject({ code });
    expect(await everything()).toEqual(before);
  }

  it('of what was not condensed', async () => {
    await refused('nothing_to_restore', () => restore('a'));
    await fixture.fill('a', 3);
    await refused('nothing_to_restore', () => restore('a'));
    await condense('a');
    await restore('a');
    await refused('nothing_to_restore', () => restore('a'));
  });

  it('while a read model is being built, which would see them twice', async () => {
    await fixture.fill('a', 3);
    await condense('a');
    await beginBuilding(fixture.database, 'balances', 1, { asked: true });
    await refused('projection_building', () => restore('a'));
  });

  it('when the archive is not what was put into it', async () => {
    await fixture.fill('a', 3);
    await condense('a');
    const [kept] = await fixture.admin`SELECT content, checksum FROM events_archive`;
    const other = await pack([['{"version": 1}']]);
    for (const content of [Buffer.from('no gzip'), kept?.content.subarray(0, 40), other.content]) {
      await fixture.admin`UPDATE events_archive SET content = ${content}`;
      await refused('archive_damaged', () => restore('a'));
    }
    // Right by its own checksum, but not what the rows then say.
    const changed = await pack([
      [
        `{"stream_id":"a","version":3,"pos":"1","event_id":"01a2b3c4-0000-7000-8000-000000000000","type":"Opened","schema_version":1,"data":{},"meta":{},"at_us":"1"}`,
      ],
    ]);
    await fixture.admin`UPDATE events_archive SET content = ${changed.content}, checksum = ${changed.checksum}`;
    await refused('archive_damaged', () => restore('a'));
    await fixture.admin`UPDATE events_archive SET content = ${kept?.content}, checksum = ${kept?.checksum}`;
    await restore('a');
  });

  it('when the archive is elsewhere and away', async () => {
    await fixture.fill('a', 3);
    const { store: elsewhere } = archiveElsewhere();
    await condenseStream({ ...fixture.deps, archive: elsewhere }, 'a', decision);
    await refused('archive_unavailable', () => restore('a'));
    const away: ArchiveStore = { ...elsewhere, get: () => Promise.reject(new Error('away')) };
    await refused('archive_unavailable', () => restore('a', away));
    await restore('a', elsewhere);
    expect((await load('a')).version).toBe(3);
  });

  /** An archive elsewhere that has something done, once, when it is read next. */
  function archiveMeanwhile() {
    const { store } = archiveElsewhere();
    let during = async () => {};
    const elsewhere: ArchiveStore = {
      ...store,
      async get(name) {
        const once = during;
        during = async () => {};
        await once();
        return store.get(name);
      },
    };
    return {
      elsewhere,
      meanwhile(work: () => Promise<unknown>) {
        during = async () => void (await work());
      },
    };
  }

  it('when somebody else condenses it further at the same time', async () => {
    await fixture.fill('a', 10);
    const { elsewhere, meanwhile } = archiveMeanwhile();
    const deps = { ...fixture.deps, archive: elsewhere };
    await condenseStream(deps, 'a', decision, 5);
    meanwhile(() => condenseStream(deps, 'a', decision));
    await expect(restore('a', elsewhere)).rejects.toMatchObject({ code: 'changed_meanwhile' });
    expect(await fixture.rows('a')).toEqual([{ version: 10, type: CONDENSED }]);
    expect((await load('a')).state.balance).toBe(9);
    expect(await restore('a', elsewhere)).toMatchObject({ fromVersion: 5, more: 1 });
    expect(await restore('a', elsewhere)).toMatchObject({ fromVersion: 1, more: 0 });
  });

  it('when somebody else restores it and condenses it again at the same time: what was read is not in force any more', async () => {
    await fixture.fill('a', 5);
    const { elsewhere, meanwhile } = archiveMeanwhile();
    const deps = { ...fixture.deps, archive: elsewhere };
    await condenseStream(deps, 'a', decision);
    meanwhile(async () => {
      await restore('a', elsewhere);
      await condenseStream(deps, 'a', decision);
    });
    await expect(restore('a', elsewhere)).rejects.toMatchObject({ code: 'changed_meanwhile' });
    expect(await fixture.rows('a')).toEqual([{ version: 5, type: CONDENSED }]);
    expect(await restore('a', elsewhere)).toMatchObject({ fromVersion: 1, toVersion: 5, more: 0 });
  });
});

describe('restoring at the same time', () => {
  it('as another does it is done once', async () => {
    await fixture.fill('a', 10);
    const before = await rows('a');
    await condense('a');
    const done = await Promise.allSettled([1, 2, 3].map(() => restore('a')));
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await rows('a')).toEqual(before);
  });

  it('as others append and condense loses nothing, and none of those who append fails', async () => {
    await fixture.fill('a', 200);
    let writing = true;
    onTestFinished(() => {
      writing = false;
    });
    const tolerate = async (work: Promise<unknown>) =>
      work.catch((err) => {
        if (err.name !== 'CondenseRefusedError') throw err;
      });
    const [appended] = await Promise.all([
      (async () => {
        let n = 0;
        for (; writing; n++) await fixture.run('a', { type: 'Deposit', pence: 1 });
        return n;
      })(),
      (async () => {
        for (let i = 0; i < 20; i++) {
          await tolerate(condense('a'));
          await Promise.all([tolerate(restore('a')), tolerate(condense('a'))]);
        }
        writing = false;
      })(),
    ]);
    expect(await load('a')).toMatchObject({ version: 200 + appended, state: { balance: 199 + appended } });
    while ((await fixture.rows('a')).some(({ type }) => type === CONDENSED)) await restore('a');
    expect((await fixture.rows('a')).map(({ version }) => version)).toEqual(
      Array.from({ length: 200 + appended }, (_, i) => i + 1),
    );
    expect(await load('a')).toMatchObject({ version: 200 + appended, state: { balance: 199 + appended } });
  });

  it('that dies before its commit leaves the stream condensed', async () => {
    await fixture.fill('a', 10);
    const before = await rows('a');
    await condense('a');
    const proxy = await cutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'restore' });
    onTestFinished(() => database.close());
    const cut = proxy.cutAfter('INSERT');
    await expect(restore('a', tableArchive, database)).rejects.toSatisfy(isTransientDbError);
    await cut;
    expect(await fixture.rows('a')).toEqual([{ version: 10, type: CONDENSED }]);
    await restore('a');
    expect(await rows('a')).toEqual(before);
  });
});
