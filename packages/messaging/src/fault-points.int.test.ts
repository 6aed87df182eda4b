import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openPipeline, type Pipeline } from './fixture-pipeline-run.ts';

// The long form is tests/faults/fault-points.fault.test.ts.

let pipeline: Pipeline;
beforeAll(async () => {
  pipeline = await openPipeline({ env: process.env });
});
beforeEach(() => pipeline.clear());
afterAll(() => pipeline?.close());

test('a process that is killed at any point of its work, again and again: what was committed is applied once, in order', async () => {
  let died = 0;
  for (const at of [4, 19, 40, 61, 82, 103, 140, 181])
    if ((await pipeline.run({ writes: 8, die: { at, when: at % 2 ? 'before' : 'after' } })) === 'died')
      died += 1;
  expect(died).toBeGreaterThan(3);
  expect(await pipeline.run({ writes: 1 })).toBe('ended');
  expect(await pipeline.check()).toBeGreaterThan(3);
});

test('control: published after the commit, without the outbox, some of it is lost', async () => {
  for (let at = 11; at < 80 && (await pipeline.missing()) === 0; at += 2)
    await pipeline.run({ writes: 8, withoutOutbox: true, die: { at, when: 'before' } });
  expect(await pipeline.missing()).toBeGreaterThan(0);
});
