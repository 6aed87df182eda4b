import { createApp } from '@sidecart/kit/app';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { PermanentError } from './failures.ts';
import { catalog, eventually, type Fixture, openFixture, outbox, remind } from './fixture.ts';
import { on } from './handler.ts';
import { createLocalWorker } from './local-worker.ts';
import { mountMessages } from './mount.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('mount');
});
afterAll(() => fixture?.close());

test('a message to oneself that became a dead letter is redriven by its local handler, and its key goes on', async () => {
  let broken = true;
  const local = {
    Remind: on(
      catalog.Remind.schema,
      async (tx, { data }) => {
        await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
        if (broken && data.n === 1) throw new PermanentError('not yet');
      },
      { ordered: true },
    ),
  };
  const deps = testDeps('orders');
  const { database } = fixture;
  const worker = createLocalWorker({ ...deps, database, handlers: local, pollMs: 50 });
  await worker.start();
  onTestFinished(worker.stop);
  const app = createApp(deps);
  mountMessages(app, { service: 'orders', database, local });

  await database.db.transaction((tx) => outbox.send(tx, remind('k', 1), remind('k', 2)));
  worker.nudge();
  const list = async () => (await callJson(app, 'GET', '/admin/dead-letters')).body.items;
  await eventually(async () => expect(await list()).toMatchObject([{ topic: 'self', key: 'k' }]));
  expect(await fixture.admin`SELECT n FROM effect`).toEqual([]);
  broken = false;
  const [{ id }] = await list();
  expect((await callJson(app, 'POST', `/admin/dead-letters/${id}/redrive`)).body).toEqual({
    outcome: 'applied',
  });
  await eventually(async () =>
    expect(await fixture.admin`SELECT n FROM effect`).toEqual([{ n: 1 }, { n: 2 }]),
  );
  expect((await callJson(app, 'POST', '/messages/orders', {})).status).toBe(503);
});
