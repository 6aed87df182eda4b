import { expect, test } from 'vitest';
import { createSweep, type Sweep } from './slot-sweep.ts';

const step = { inSteps: true };
/** A read that came to its end, or was filled by what is not left out. */
const end = { inSteps: false };

/** One that has passed what is left out and doubts a row of `k` behind it. */
function doubting(): Sweep {
  const sweep = createSweep();
  sweep.begin();
  sweep.read(step, 1);
  sweep.doubt('k', 10n);
  sweep.read(end, 1);
  return sweep;
}

test('what a read from the floor shows is believed, and what the next one shows only after it was doubted in a sweep before', () => {
  const sweep = doubting();
  expect(sweep.believes('k', 10n)).toBe(false);
  sweep.begin();
  expect(sweep.believes('other', 1n), 'from the floor').toBe(true);
  sweep.read(step, 1);
  expect(sweep.believes('k', 10n)).toBe(true);
  expect(sweep.believes('k', 11n), 'never doubted').toBe(false);
});

test('not when something of its key was doubted before it in this sweep: that one was committed late', () => {
  const sweep = doubting();
  sweep.begin();
  sweep.read(step, 1);
  sweep.doubt('k', 9n);
  expect(sweep.believes('k', 10n)).toBe(false);
});

test('nor when what is left out has changed: what comes before it may have been passed', () => {
  const sweep = doubting();
  sweep.begin();
  sweep.read(step, 1);
  sweep.distrustThose((key) => key === 'k');
  expect(sweep.believes('k', 10n)).toBe(false);
});

test('a sweep in steps is on its way until it comes to what is not left out, or until so much is doubted that another is worth it', () => {
  const sweep = createSweep();
  sweep.begin();
  expect(sweep.isOnItsWay()).toBe(false);
  sweep.read(step, 5);
  expect(sweep.isOnItsWay()).toBe(true);
  sweep.read(end, 5);
  expect(sweep.isOnItsWay(), 'or a backlog would have to be done before what is below it is looked for').toBe(
    false,
  );
  sweep.read(step, 5);
  expect(sweep.isOnItsWay()).toBe(true);
  for (let id = 0n; id < 100n; id += 1n) sweep.doubt(`k${id}`, id);
  expect(sweep.isOnItsWay()).toBe(false);
  sweep.begin();
  sweep.read(step, 5);
  sweep.read(end, 5);
  expect(sweep.isOnItsWay()).toBe(false);
  sweep.read(end, 1000); // behind its end
  expect([sweep.tookMs(), sweep.apartMs()]).toEqual([10, 40]);
  sweep.begin();
  sweep.read({ inSteps: false }, 60_000);
  expect(sweep.apartMs(), 'ten seconds after its end').toBe(70_000);
});
