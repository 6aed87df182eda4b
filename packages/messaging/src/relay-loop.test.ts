import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { eventually } from './fixture.ts';
import { tableRow } from './fixture-table.ts';
import { relayLoop } from './relay-loop.ts';
import type { OutboxMessage, QueueStatus } from './relay-queue.ts';
import type { RelayReport } from './relay-report.ts';
import type { RelaySession } from './relay-session.ts';
import type { SlotPart } from './slot-read.ts';
import { createWake } from './wake.ts';

/** A loop over a database of its own making, of which slot 0 passes left-out rows without end; what it asks is noted. */
function looping(o: {
  slots: number[];
  rowsOf: (slot: number) => boolean;
  fails?: boolean;
  /** Of an earlier session, not yet removed. */
  acknowledged?: OutboxMessage[];
}) {
  const [stopping, lost, wake] = [new AbortController(), new AbortController(), createWake()];
  const asked = {
    pings: 0,
    reads: 0,
    ones: 0,
    sweepsOf: new Map<number, number>(),
    removed: [] as number[],
  };
  const told: QueueStatus[] = [];
  let { slots } = o;
  let [surplus, isWon] = [0, false];
  let id = 0;
  function partOf(slot: number, from: bigint, limit: number): SlotPart {
    if (from === 0n) asked.sweepsOf.set(slot, (asked.sweepsOf.get(slot) ?? 0) + 1);
    if (slot === 0) return { rows: [], to: from + 2000n, more: true, inSteps: true };
    if (!o.rowsOf(slot)) return { rows: [], to: 1n, more: false, inSteps: false };
    const rows = Array.from({ length: o.fails ? 1 : limit }, () => tableRow(++id, `k${id}`, 1, { slot }));
    return { rows, to: BigInt(id), more: true, inSteps: false };
  }
  const session: Partial<RelaySession> = {
    signal: lost.signal,
    run: async () => [] as never,
    owned: () => slots,
    isFresh: () => true,
    async share() {
      const won = isWon;
      if (won) [slots, isWon] = [o.slots, false];
      return { won, surplus };
    },
    release: async (given) => {
      slots = slots.filter((slot) => !given.includes(slot));
      surplus = 0;
    },
    ping: async () => {
      asked.pings += 1;
      await pause(1);
    },
    readKeys: async () => [],
    remove: async ({ length }) => void asked.removed.push(length),
    depth: async () => [],
    async read(after, _without, limit) {
      asked.reads += 1;
      if (limit.rows === 1) asked.ones += 1;
      await pause(1);
      return new Map([...after].map(([slot, from]) => [slot, partOf(slot, from, limit.rows)]));
    },
  };
  const loop = relayLoop({
    session: session as RelaySession,
    async publish() {
      await pause(1);
      if (o.fails) throw new Error('away');
    },
    refusedBy: () => undefined,
    concurrency: 16,
    pollMs: 200,
    stopping: stopping.signal,
    acknowledged: new Map(o.acknowledged?.map((message) => [message.id, message])),
    wake,
    nudge: { look: true, announce: false },
    report: new Proxy({ keys: (status: QueueStatus) => told.push(status) } as Partial<RelayReport>, {
      get: (report, name: keyof RelayReport) => report[name] ?? (() => {}),
    }) as RelayReport,
  });
  return {
    asked,
    told,
    owned: () => slots,
    giveUpOne() {
      surplus = 1;
    },
    winBack() {
      isWon = true;
    },
    async end() {
      stopping.abort();
      wake.up();
      await loop;
    },
  };
}

test('a relay that gave its last slot away while there was more shows at its poll that it is alive, and no oftener', async () => {
  const relay = looping({ slots: [1], rowsOf: () => true });
  await pause(300);
  relay.giveUpOne();
  await pause(1500);
  const before = relay.asked.pings;
  await pause(1000);
  await relay.end();
  expect(relay.asked.pings - before).toBeLessThanOrEqual(10);
});

test('while one slot passes left-out rows and memory is full, the others are swept as ever', {
  timeout: 20_000,
}, async () => {
  const slots = Array.from({ length: 13 }, (_, i) => i);
  const relay = looping({ slots, rowsOf: (slot) => slot < 12 });
  await pause(5000);
  await relay.end();
  expect(relay.asked.ones, 'it did go on while memory was full').toBeGreaterThan(100);
  expect(relay.asked.sweepsOf.get(12)).toBeGreaterThanOrEqual(3);
});

test('whatever was acknowledged is removed in parts, also by a relay that is stopped at once', async () => {
  const acknowledged = Array.from({ length: 2500 }, (_, n) => tableRow(-n, `k${n}`, 1, { slot: 1 }));
  const relay = looping({ slots: [1], rowsOf: () => false, acknowledged });
  await relay.end();
  expect(relay.asked.removed).toEqual([1000, 1000, 500]);
});

test('a slot that was given away and won back is a new one: a key of it that fails is kept', async () => {
  let fresh = true;
  const relay = looping({
    slots: [1],
    rowsOf() {
      const has = fresh;
      fresh = false;
      return has;
    },
    fails: true,
  });
  await eventually(() => expect(relay.told.at(-1)?.failing.length).toBeGreaterThan(0));
  relay.giveUpOne();
  await eventually(() => expect(relay.owned()).toEqual([]));
  fresh = true;
  relay.told.length = 0;
  relay.winBack();
  await eventually(() => expect(relay.owned()).toEqual([1]));
  await eventually(() => expect(relay.told.at(-1)?.failing.length).toBeGreaterThan(0));
  await relay.end();
});
