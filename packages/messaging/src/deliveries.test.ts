import { describe, expect, test } from 'vitest';
import { createDeliveries } from './deliveries.ts';

test('counts per message, until it is forgotten or so many others came that there is no room', () => {
  const deliveries = createDeliveries(2);
  expect([deliveries.count('t', 'a'), deliveries.count('t', 'a'), deliveries.count('u', 'a')]).toEqual([
    1, 2, 1,
  ]);
  deliveries.count('t', 'c'); // t a was the oldest
  expect(deliveries.count('t', 'a')).toBe(1);
  deliveries.forget('t', 'a');
  expect(deliveries.count('t', 'a')).toBe(1);
});

describe('a message that fails', () => {
  function open() {
    let at = 1000;
    const deliveries = createDeliveries(100, () => at);
    return {
      ...deliveries,
      fails(id: string, why = 'no') {
        deliveries.count('t', id);
        deliveries.failed('t', id, why);
      },
      pass: (ms: number) => {
        at += ms;
      },
    };
  }

  test('again and again for ten seconds is told of, with its latest reason, until it is handled', () => {
    const { fails, pass, failing, forget } = open();
    for (let n = 0; n < 4; n++) fails('a'); // a sidecar's own attempts
    expect(failing()).toEqual([]);
    pass(9999);
    fails('a');
    expect(failing()).toEqual([]);
    pass(1);
    fails('a', 'still not');
    fails('b');
    expect(failing()).toMatchObject([{ topic: 't', eventId: 'a', tries: 6, why: 'still not' }]);
    forget('t', 'a');
    expect(failing()).toEqual([]);
  });

  test('and is not tried here any more is told of for a minute: another replica may have handled it', () => {
    const { fails, pass, failing } = open();
    fails('a');
    pass(20_000);
    fails('a');
    pass(60_000);
    expect(failing()).toHaveLength(1);
    pass(1);
    expect(failing()).toEqual([]);
  });
});
