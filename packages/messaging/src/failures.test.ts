import { DomainError } from '@sidecart/kit/domain-error';
import { expect, test } from 'vitest';
import { classifyFailure } from './failures.ts';

test('a rule that says no is an invariant that the message breaks, with what the rule knows', () => {
  const rule = new DomainError('conflict', 'order_already_decided', { status: 'rejected', version: 2n });
  expect(classifyFailure(rule)).toEqual({
    kind: 'permanent',
    reason: 'invariant',
    detail: "order_already_decided { status: 'rejected', version: 2n }",
  });
});

test('control: another error with the same words comes again', () => {
  expect(classifyFailure(new Error('order_already_decided'))).toEqual({ kind: 'transient', expected: false });
});
