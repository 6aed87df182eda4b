import { expect, test } from 'vitest';
import { tableRow } from './fixture-table.ts';
import { createRelayCursors, type RelayCursors } from './relay-cursors.ts';

const step = { rows: [], to: 2000n, more: true, inSteps: true };
const row = tableRow(2500, 'k', 9);
const slots = [0];

function readTo(cursors: RelayCursors, part: typeof step, now: number, doubted = [] as (typeof row)[]) {
  const from = cursors.begin(slots, now).get(0);
  for (const row of doubted) cursors.doubt(row);
  cursors.end(new Map([[0, part]]), 3, now);
  return from;
}

/** Two steps pass what is left out, and show a row that is doubted; the next sweep has made its first step. */
function doubting(): RelayCursors {
  const cursors = createRelayCursors(() => 0n);
  readTo(cursors, step, 0);
  readTo(cursors, { ...step, to: 2500n, more: false, inSteps: false }, 0, [row]);
  expect(readTo(cursors, step, 5000)).toBe(0n);
  cursors.begin(slots, 5000);
  return cursors;
}

test('what was doubted is believed in the next sweep, of another topic or key it is not', () => {
  const cursors = doubting();
  expect(cursors.believes(row)).toBe(true);
  expect(cursors.believes({ ...row, topic: 'products' })).toBe(false);
  expect(cursors.believes({ ...row, msgKey: 'l' })).toBe(false);
});

test('nor when its topic was left out in between: what comes before it may have been passed', () => {
  const cursors = doubting();
  cursors.rewind(['products']);
  expect(cursors.believes(row), 'another topic says nothing of it').toBe(true);
  cursors.rewind(['orders']);
  expect(cursors.believes(row)).toBe(false);
});

test('a rewind reads from the floor as soon as the steps under way are done and four times their length are over', () => {
  const cursors = createRelayCursors(() => 7n);
  readTo(cursors, { ...step, more: false, inSteps: false }, 0);
  cursors.rewind([]);
  expect([cursors.sweepAt(slots), readTo(cursors, step, 20)]).toEqual([20, 7n]);
  cursors.rewind([]);
  const passed = { ...step, to: 22_000n };
  for (let i = 1; i < 10; i++) expect(readTo(cursors, passed, 20)).toBe(i === 1 ? 2000n : 22_000n);
  readTo(cursors, { ...passed, inSteps: false }, 20);
  expect(cursors.sweepAt(slots)).toBe(20 + 4 * 11 * 3);
});

test('a slot goes on behind what is left out, however often something is not left out any more', () => {
  const cursors = createRelayCursors(() => 0n);
  let [sweeps, taken] = [0, 0];
  for (let now = 0; now < 60_000; now += 3) {
    cursors.rewind(['products']);
    const from = cursors.begin(slots, now).get(0) ?? 0n;
    const inSteps = from < 40_000n; // in twenty of them
    cursors.end(
      new Map([[0, { rows: [], to: from + (inSteps ? 2000n : 100n), more: true, inSteps }]]),
      3,
      now,
    );
    if (from === 0n) sweeps += 1;
    if (!inSteps) taken += 1;
  }
  expect(sweeps).toBeGreaterThan(60_000 / 300);
  expect(taken).toBeGreaterThan(0.7 * (60_000 / 3));
});

test('looking back never goes forward to what an earlier sweep had passed', () => {
  const cursors = createRelayCursors(() => 0n);
  const filled = { ...step, inSteps: false };
  readTo(cursors, step, 0);
  readTo(cursors, { ...filled, to: 2100n }, 1);
  expect(
    readTo(cursors, { ...filled, to: 50n }, 60_000),
    'the next sweep is filled by what is not left out any more',
  ).toBe(0n);
  for (let seconds = 0; seconds < 3; seconds += 1) cursors.lookBack();
  readTo(cursors, { ...filled, to: 100n }, 60_001);
  cursors.lookBack();
  expect(readTo(cursors, { ...filled, to: 150n }, 60_002)).toBeLessThanOrEqual(100n);
});

test('a slot that was left and won again is read from its floor, and that read is believed', () => {
  const cursors = doubting();
  cursors.drop(0);
  expect(cursors.begin(slots, 5001).get(0)).toBe(0n);
  expect(cursors.believes(tableRow(1, 'new', 3))).toBe(true);
});

test('while a backlog drains behind what is left out, the slot is looked back at and swept', () => {
  const cursors = createRelayCursors(() => 0n);
  readTo(cursors, step, 0);
  const below = { lookBack: 0, sweep: 0 };
  for (let [now, to] = [30, 2100n]; now < 60_000; now += 30, to += 100n) {
    const looksBack = now % 1000 < 30;
    if (looksBack) cursors.lookBack();
    const from = readTo(cursors, { rows: [], to, more: true, inSteps: false }, now) ?? 0n;
    if (from === 0n) below.sweep += 1;
    else if (from < to - 100n) below.lookBack += 1;
  }
  expect(below.sweep).toBeGreaterThan(15);
  expect(below.lookBack).toBeGreaterThan(15);
});

test('looking back does not pass again what is left out', () => {
  const cursors = createRelayCursors(() => 0n);
  const filled = { ...step, to: 2100n, inSteps: false };
  readTo(cursors, { ...filled, to: 50n }, 0);
  cursors.lookBack();
  readTo(cursors, step, 0);
  readTo(cursors, filled, 1);
  for (let seconds = 0; seconds < 3; seconds += 1) cursors.lookBack();
  expect(readTo(cursors, filled, 2)).toBe(2000n);
});

test('a sweep that passed much is four times its length apart from the next, though nothing was doubted', () => {
  const cursors = createRelayCursors(() => 0n);
  cursors.begin(slots, 0);
  cursors.end(new Map([[0, step]]), 2500, 2500);
  readTo(cursors, { ...step, to: 2100n, inSteps: false }, 2503);
  expect(cursors.sweepAt(slots)).toBeGreaterThanOrEqual(4 * 2500);
});

test('of several slots those are on their way that pass what is left out', () => {
  const cursors = createRelayCursors(() => 0n);
  cursors.begin([0, 1], 0);
  const filled = { ...step, inSteps: false };
  cursors.end(
    new Map([
      [0, step],
      [1, filled],
    ]),
    3,
    0,
  );
  expect(cursors.onTheirWay([0, 1])).toEqual([0]);
});

test('no more is read than two thousand rows that are doubted before the next sweep', () => {
  const cursors = createRelayCursors(() => 0n);
  readTo(cursors, step, 0);
  const rows = Array.from({ length: 2000 }, (_, i) => tableRow(2001 + i, `k${i}`, 9));
  readTo(cursors, { ...step, to: 4000n, inSteps: false }, 0, rows);
  expect(cursors.begin(slots, 1).size).toBe(0);
  expect(cursors.begin(slots, cursors.sweepAt(slots)).get(0)).toBe(0n);
});
