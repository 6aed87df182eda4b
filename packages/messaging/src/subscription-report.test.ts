import { testDeps } from '@sidecart/kit/testing';
import { expect, test } from 'vitest';
import { createSubscriptionReport } from './subscription-report.ts';

/** A round every 10 s: `f` one that fetched something, `.` one that did not; `d` has a delivery just before it, `F` both; `q` is an `f` a second after the last. */
async function play(rounds: string) {
  const deps = testDeps('inventory');
  let time = 0;
  let delivered = Number.NEGATIVE_INFINITY;
  const report = createSubscriptionReport({
    ...deps,
    topics: ['orders', 'orders'],
    lastDelivery: () => delivered,
    graceMs: 10_000,
    now: () => time,
  });
  const found: string[] = [];
  for (const round of rounds) {
    if (round !== 'q') time += 9_000;
    if ('dF'.includes(round)) delivered = time;
    time += 1_000;
    report.endRound(new Set('fFq'.includes(round) ? ['orders'] : []));
    found.push(deps.health.details().components.subscriptions?.status === 'ok' ? '+' : '-');
  }
  const { components } = deps.health.details();
  return {
    found: found.join(''),
    health: components.subscriptions,
    metrics: await deps.metrics.registry.metrics(),
  };
}

test('a topic that delivers nothing while messages are fetched again and again is named', async () => {
  const { found, health, metrics } = await play('..ff.f');
  expect(found).toBe('+++---');
  expect(health).toEqual({
    status: 'degraded',
    reason: expect.stringMatching(/^orders: nothing is delivered/),
  });
  expect(metrics).toMatch(/sidecart_subscription_up\{topic="orders"[^}]*\} 0/);
});

test('the next delivery ends it', async () => {
  expect((await play('ff.d.')).found).toBe('+--++');
});

test('one message that is lost is no silence, nor are several, one at a time, on a topic that delivers', async () => {
  expect((await play('f....')).found).toBe('+++++');
  expect((await play('fdfdf')).found).toBe('+++++');
});

test('one loss that takes many rounds is no silence', async () => {
  expect((await play('.fqqq.')).found).toBe('++++++');
  expect((await play('.fqqqf')).found).toBe('+++++-');
});

test('a topic with a backlog, of which some is fetched before it is delivered, is not silent', async () => {
  expect((await play('FFFFF')).found).toBe('+++++');
});
