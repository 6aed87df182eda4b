import { expect, test } from 'vitest';
import { DomainError, refuse } from './domain-error.ts';

const FAULTS = [0, 2].map((n) => ({ pointer: `/lines/${n}/sku`, code: 'not_on_order', detail: 'is not' }));

test('all faults are told at once, under the code that they have', () => {
  const refused = (() => {
    try {
      return refuse('refused', FAULTS);
    } catch (err) {
      return err;
    }
  })();
  expect(refused).toBeInstanceOf(DomainError);
  expect(refused).toMatchObject({ kind: 'refused', code: 'not_on_order', errors: FAULTS });
});

test('control: without a fault nothing is refused', () => {
  expect(() => refuse('refused', [])).not.toThrow();
});
