import { DaprError } from '@sidecart/kit/dapr-error';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { expect } from 'vitest';
import { type CutProxy, openCutProxy } from '../../../tests/cut-proxy.ts';
import { createDelayedRelease } from './delayed.ts';
import type { CloudEvent } from './envelope.ts';
import { eventually, type Fixture, openFixture, outbox, pause, placed } from './fixture.ts';
import { type Part, type Receiver, startReceiver } from './fixture-model-receiver.ts';
import type { Step } from './fixture-model-steps.ts';
import { createRelay, type Relay } from './relay.ts';

// A sender with two relays, a broker that is a list, and two receivers, one of which wants the order: real tables and real
// connections, which are lost when a step says so. The model is what the sender's database says was committed.

export interface World {
  /** Begins anew, does the steps, lets everything come to its end, and compares with the model. Throws when they differ. */
  run(steps: readonly Step[], o?: { without?: Part }): Promise<void>;
  close(): Promise<void>;
}

export async function openWorld(): Promise<World> {
  const [sender, ...fixtures] = (await Promise.all(
    ['model_sender', 'model_ordered', 'model_any_order'].map((name) => openFixture(name)),
  )) as [Fixture, Fixture, Fixture];
  await sender.admin.unsafe('CREATE TABLE written (n int PRIMARY KEY); GRANT ALL ON written TO PUBLIC');
  const [writing, relaying] = await Promise.all([
    openCutProxy(sender.urls.url),
    openCutProxy(sender.urls.url),
  ]);
  const writer = connectDatabase({ url: writing.url, applicationName: 'writer', max: 10 });
  const receivers: Receiver[] = [];
  for (const [i, fixture] of fixtures.entries()) {
    await fixture.admin.unsafe(
      'CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, key text, n int); GRANT ALL ON applied TO PUBLIC',
    );
    const proxy = await openCutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'receiver', max: 10 });
    receivers.push({ fixture, proxy, database, ordered: i === 0 });
  }

  async function clear(): Promise<void> {
    await sender.clear();
    await sender.admin`TRUNCATE written`;
    for (const { fixture } of receivers) {
      await fixture.clear();
      await fixture.admin`TRUNCATE applied, repair_cursor, repair_missing`;
    }
  }

  return {
    async run(all, { without } = {}) {
      await clear();
      // In order, a number that was used before is noticed all the same.
      const bare = receivers.filter(({ ordered }) => without === 'inbox' && !ordered);
      for (const { fixture } of bare) await fixture.admin`ALTER TABLE inbox DROP CONSTRAINT inbox_pkey`;
      try {
        await runOnce({ sender, writer, writing, relaying, receivers, without }, all);
      } finally {
        for (const proxy of [writing, relaying, ...receivers.map((r) => r.proxy)]) proxy.disarm();
        for (const { fixture } of bare)
          await fixture.admin.unsafe(
            'TRUNCATE inbox; ALTER TABLE inbox ADD CONSTRAINT inbox_pkey PRIMARY KEY (topic, event_id)',
          );
      }
    },
    async close() {
      await Promise.all([writer, ...receivers.map((r) => r.database)].map((database) => database.close()));
      for (const proxy of [writing, relaying, ...receivers.map((r) => r.proxy)]) proxy.close();
      await Promise.all([sender, ...fixtures].map((fixture) => fixture.close()));
    },
  };
}

interface Parts {
  sender: Fixture;
  writer: Database;
  writing: CutProxy;
  relaying: CutProxy;
  receivers: Receiver[];
  without: Part | undefined;
}

async function runOnce(parts: Parts, all: readonly Step[]): Promise<void> {
  const { sender, writer, writing, relaying, without } = parts;
  /** What the broker has, in the order of its arrival. */
  const stored: CloudEvent[] = [];
  const lost = parts.receivers.map(() => new Set<string>());
  let come: ('taken' | 'unanswered' | 'not taken')[] = [];
  let n = 0;
  const under: Promise<unknown>[] = [];
  const ends: (() => Promise<unknown>)[] = [];

  function startRelay(index: number) {
    const process = { alive: true };
    const relay: Relay = createRelay({
      ...testDeps('orders'),
      url: relaying.url,
      applicationName: `relay${index}`,
      pollMs: 20,
      async publish(_topic, event) {
        const comes = process.alive ? (come.shift() ?? 'taken') : 'not taken';
        await pause(1);
        if (comes !== 'not taken') stored.push(event);
        if (comes !== 'taken' || !process.alive) throw new DaprError('unavailable', comes);
      },
    });
    ends.push(() => relay.stop());
    return { process, relay, started: relay.start() };
  }
  const endSession = (fixture: Fixture, name: string) => fixture.admin`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = ${name}`;

  const relays = [0, 1].map(startRelay);
  await Promise.all(relays.map(({ started }) => started));
  const delayed = createDelayedRelease({ ...testDeps('orders'), database: writer, pollMs: 20 });
  await delayed.start();
  ends.push(() => delayed.stop());
  const receivers = parts.receivers.map((receiver) => startReceiver(parts, receiver, ends));
  await Promise.all(receivers.map(({ restart }) => restart()));

  const picked = (picks: number[]) =>
    stored.length === 0 ? [] : picks.map((pick) => stored[pick % stored.length] as CloudEvent);

  async function write({ keys, fault, delayed: late }: Step & { do: 'write' }): Promise<void> {
    const messages = keys.map((key) => ({ ...placed(key, n++), ...(late && { delayMs: 30 }) }));
    if (fault === 'cut') void writing.cutAfter('COMMIT');
    await writer.db.transaction(async (tx) => {
      for (const { data } of messages) await tx.execute(sql`INSERT INTO written VALUES (${data.n})`);
      await outbox.publish(tx, ...messages);
      if (fault === 'rolled back') throw new Error(fault);
    });
  }

  async function happen(one: Step): Promise<void> {
    switch (one.do) {
      case 'write':
        // Whether it was committed is for the database to say.
        return void under.push(write(one).catch(() => {}));
      case 'publishes':
        return void come.push(...one.come);
      case 'end relay': {
        await endSession(sender, `relay${one.relay}-relay`);
        if (one.how === 'session') return;
        const dead = relays[one.relay] as (typeof relays)[0];
        dead.process.alive = false;
        under.push(dead.relay.stop());
        relays[one.relay] = startRelay(one.relay);
        return;
      }
      case 'cut removal':
        return void relaying.cutAfter('INSERT');
      case 'deliver': {
        const { deliver, trouble, proxy } = receivers[one.to] as (typeof receivers)[0];
        const events = picked(one.picks).filter(({ id }) => !lost[one.to]?.has(id));
        if (one.fault === 'cut') void proxy.cutAfter('COMMIT');
        else if (one.fault !== 'none') for (const { id } of events) trouble.set(id, one.fault);
        return void under.push(...events.map(deliver));
      }
      case 'lose':
        for (const { id } of picked(one.picks)) lost[one.to]?.add(id);
        return;
      case 'end receiver': {
        const { fixture, restart } = receivers[one.to] as (typeof receivers)[0];
        await endSession(fixture, 'receiver');
        return restart();
      }
      case 'wait':
        if (one.stored === undefined) return pause(15);
        return eventually(() => expect(stored.length).toBeGreaterThanOrEqual(one.stored ?? 0));
    }
  }

  try {
    for (const one of all) await happen(one);
    await Promise.all(under);
    come = [];
    for (const proxy of [writing, relaying]) proxy.disarm();
    await eventually(async () => {
      const [left] = await sender.admin<{ n: number }[]>`
        SELECT ((SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_delayed))::int AS n`;
      expect(left?.n, 'messages that were not sent').toBe(0);
    }, 20_000);
    for (const [i, receiver] of receivers.entries()) {
      await receiver.calm();
      // The last first: as far from the order as it can be.
      const due = stored.filter(({ id }) => !lost[i]?.has(id)).toReversed();
      await deliverAll(receiver.deliver, due);
      await receiver.compare(without ? 1_000 : 20_000);
      await deliverAll(receiver.deliver, stored);
      await receiver.compare(0);
    }
  } finally {
    await Promise.all(ends.map((end) => end()));
  }
}

/** Several at once, each until it is taken. */
async function deliverAll(deliver: (event: CloudEvent) => Promise<string>, due: CloudEvent[]): Promise<void> {
  const left = [...due];
  const lane = async () => {
    for (let event = left.shift(); event; event = left.shift())
      for (let tries = 0; (await deliver(event)) !== 'done'; tries++) {
        expect(tries, `deliveries of ${event.id} that were not taken`).toBeLessThan(100);
        await pause(10);
      }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
}
