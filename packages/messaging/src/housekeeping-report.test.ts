import { testDeps } from '@sidecart/kit/testing';
import { expect, test } from 'vitest';
import { createHousekeepingReport } from './housekeeping-report.ts';

function open() {
  const deps = testDeps('orders');
  const report = createHousekeepingReport(deps);
  const fail = (chore: string, times: number) => {
    for (let i = 0; i < times; i += 1) report.failed(chore, new Error('no'));
  };
  return { ...report, fail, state: () => deps.health.details().components.housekeeping };
}

test('a chore that fails three times in a row shows, whatever others do, until it works', () => {
  const { fail, worked, state } = open();
  fail('purge', 3);
  worked('rotation');
  expect(state()).toEqual({ status: 'degraded', reason: 'purge, 3 failures: no' });
  worked('purge');
  expect(state()).toEqual({ status: 'ok' });
});

test('a hiccup does not show: neither twice in a row, nor now and then, nor once of each chore', () => {
  const { fail, worked, state } = open();
  fail('purge', 2);
  worked('purge');
  fail('purge', 2);
  fail('rotation', 2);
  expect(state()).toEqual({ status: 'ok' });
});
