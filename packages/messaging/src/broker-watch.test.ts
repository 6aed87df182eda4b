import { DaprError } from '@sidecart/kit/dapr-error';
import { testDeps } from '@sidecart/kit/testing';
import { describe, expect, test } from 'vitest';
import { createBrokerWatch } from './broker-watch.ts';

const alive = new DaprError('no-stream', 'nats: no response from stream', { status: 500 });
const closed = new DaprError('connection-closed', 'nats: connection closed', { status: 500 });
const noComponent = new DaprError('no-component', 'ERR_PUBSUB_NOT_FOUND', { status: 404 });
const brokerAway = new DaprError('unavailable', 'nats: timeout', { status: 500 });
const sidecarAway = new DaprError('unavailable', 'ECONNREFUSED');

/** Plays one round per entry; an entry says how each component answers, the time moves on 5 s a round. */
async function play(rounds: (DaprError | undefined)[][], shutDown: () => Promise<void> = async () => {}) {
  const components = (rounds[0] ?? []).map((_, i) => `pubsub-${i}`);
  const deps = testDeps('orders');
  const calls: number[] = [];
  const published: string[] = [];
  let round = 0;
  let finished = () => {};
  const done = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const watch = createBrokerWatch({
    ...deps,
    components,
    intervalMs: 0.1,
    now: () => round * 5000,
    dapr: {
      async publish(component, topic) {
        const answers = rounds[round];
        if (!answers) return finished();
        published.push(`${component} ${topic}`);
        if (component === components.at(-1)) round += 1;
        const fault = answers[components.indexOf(component)];
        if (fault) throw fault;
      },
      async shutdownSidecar() {
        calls.push(round);
        await shutDown();
      },
    },
  });
  const before = () => deps.health.details().components.broker;
  await watch.start();
  await done;
  const health = before();
  await watch.stop();
  return { calls, published, health, metrics: await deps.metrics.registry.metrics() };
}

describe('the broker watch', () => {
  test('asks each component by the topic that is bound to no stream', async () => {
    const { published, health, calls, metrics } = await play([[alive, alive]]);
    expect(published).toEqual(['pubsub-0 probe', 'pubsub-1 probe']);
    expect(health).toEqual({ status: 'ok' });
    expect(calls).toEqual([]);
    expect(metrics).toMatch(/sidecart_broker_up\{component="pubsub-0"[^}]*\} 1/);
  });

  test('a probe that the broker has stored is a sign of life, too', async () => {
    const { health, calls } = await play([[undefined, alive]]);
    expect(health).toEqual({ status: 'ok' });
    expect(calls).toEqual([]);
  });

  test('a connection that is gone for good: the sidecar is told to shut down, and again after it was well', async () => {
    const { calls } = await play([
      [alive, closed], // told
      [closed, closed], // still ending
      [sidecarAway, sidecarAway],
      [alive, alive], // back
      [closed, alive], // told again
    ]);
    expect(calls).toEqual([1, 5]);
  });

  test('one that starts without its component, as the broker is away, is told again with growing waits', async () => {
    const { calls } = await play(Array.from({ length: 24 }, () => [noComponent]));
    expect(calls).toEqual([1, 3, 7, 13, 19]);
  });

  test('one that could not be told is told again in the next round', async () => {
    const { calls } = await play([[closed], [closed]], () =>
      Promise.reject(new DaprError('timeout', 'late')),
    );
    expect(calls).toEqual([1, 2]);
  });

  test('broker or sidecar away: degraded, and nothing is shut down', async () => {
    const away = await play([
      [brokerAway, alive],
      [sidecarAway, sidecarAway],
      [brokerAway, alive],
    ]);
    expect(away.calls).toEqual([]);
    expect(away.health).toEqual({ status: 'degraded', reason: 'pubsub-0: broker-away' });
    expect(away.metrics).toMatch(/sidecart_broker_up\{component="pubsub-0"[^}]*\} 0/);
  });
});
