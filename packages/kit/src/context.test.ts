import { expect, test } from 'vitest';
import {
  childTraceparent,
  currentContext,
  newTraceparent,
  parseTraceparent,
  runInContext,
  traceIdOf,
} from './context.ts';

test('a context follows every await, and only its own work', async () => {
  const seen = async (requestId: string) => {
    await runInContext({ traceparent: newTraceparent(), requestId, actor: 'a' }, async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      expect(currentContext()?.requestId).toBe(requestId);
    });
  };
  await Promise.all(['r1', 'r2', 'r3'].map(seen));
  expect(currentContext()).toBeUndefined();
});

test('a child keeps the trace and changes the span', () => {
  const parent = newTraceparent();
  const child = childTraceparent(parent);
  expect(parseTraceparent(child)).toBe(child);
  expect(traceIdOf(child)).toBe(traceIdOf(parent));
  expect(child.slice(36, 52)).not.toBe(parent.slice(36, 52));
  expect(child.slice(53)).toBe(parent.slice(53));
});

test.each([
  [undefined],
  [''],
  ['00-00000000000000000000000000000000-1111111111111111-01'],
  ['00-11111111111111111111111111111111-0000000000000000-01'],
  ['00-1111111111111111111111111111111g-1111111111111111-01'],
  ['00-11111111111111111111111111111111-1111111111111111-01-extra'],
  ['ff-11111111111111111111111111111111-1111111111111111-01'],
])('a malformed traceparent is no traceparent: %s', (header) => {
  expect(parseTraceparent(header)).toBeUndefined();
});
