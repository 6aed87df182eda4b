import { DomainError } from '@sidecart/kit/domain-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import {
  decide,
  evolve,
  initialState,
  type Part,
  type Reservation,
  type ReservationCommand,
  type ReservationEvent,
} from './reservation.ts';

const orderId = 'ord_1';
const lines = [
  { sku: 'HEART', quantity: 3 },
  { sku: 'LANTERN', quantity: 2 },
];
const reserve: ReservationCommand = { type: 'Reserve', orderId, lines };
const commit: ReservationCommand = { type: 'Commit', orderId };
const release: ReservationCommand = { type: 'Release', orderId };

const reserved: ReservationEvent = { type: 'StockReserved', orderId, lines };
const rejected: ReservationEvent = {
  type: 'StockRejected',
  orderId,
  short: [{ sku: 'HEART', requested: 3, available: 1 }],
};
const committed: ReservationEvent = { type: 'StockCommitted', orderId, lines };
const released: ReservationEvent = { type: 'StockReleased', orderId, from: 'reserved', lines };
const releasedAhead: ReservationEvent = { type: 'StockReleased', orderId, from: 'reserved', lines: [] };

const part: Part = { id: 'amd_1', lines: [{ sku: 'HEART', quantity: 2 }] };
const rest = [
  { sku: 'HEART', quantity: 1 },
  { sku: 'LANTERN', quantity: 2 },
];
const releasePart: ReservationCommand = { type: 'Release', orderId, part };
const awaited: ReservationEvent = { type: 'PartAwaited', orderId, part };
const partReleased = (from: 'reserved' | 'committed' = 'reserved'): ReservationEvent => ({
  type: 'StockReleased',
  orderId,
  from,
  lines: part.lines,
  part: part.id,
});

const plenty = { HEART: 10, LANTERN: 10 };

function given(...events: ReservationEvent[]) {
  const state = events.reduce(evolve, initialState());
  return {
    when(command: ReservationCommand, onHand: Record<string, number> = plenty) {
      const run = () => decide(command, state, (sku) => onHand[sku] ?? 0);
      return {
        thenEvents: (...expected: ReservationEvent[]) => expect(run()).toEqual(expected),
        thenRefused(code: string) {
          expect(run).toThrowError(DomainError);
          expect(run).toThrowError(code);
        },
      };
    },
  };
}

describe('reserving', () => {
  test('sets every line aside', () => {
    given().when(reserve).thenEvents(reserved);
  });

  test('the last units are enough', () => {
    given().when(reserve, { HEART: 3, LANTERN: 2 }).thenEvents(reserved);
  });

  test('one short line rejects all, naming the line with what is there', () => {
    given().when(reserve, { HEART: 1, LANTERN: 10 }).thenEvents(rejected);
  });

  test('every short line is named', () => {
    given()
      .when(reserve, { HEART: 2 })
      .thenEvents({
        type: 'StockRejected',
        orderId,
        short: [
          { sku: 'HEART', requested: 3, available: 2 },
          { sku: 'LANTERN', requested: 2, available: 0 },
        ],
      });
  });

  test('again changes nothing, whatever was decided', () => {
    given(reserved).when(reserve).thenEvents();
    given(rejected).when(reserve).thenEvents();
    given(reserved, committed).when(reserve).thenEvents();
    given(reserved, released).when(reserve).thenEvents();
  });

  test('after a release that overtook it sets nothing aside', () => {
    given(releasedAhead).when(reserve).thenEvents();
  });

  test('one product twice is refused: it would be checked twice against the same pieces', () => {
    const twice = [
      { sku: 'HEART', quantity: 6 },
      { sku: 'HEART', quantity: 6 },
    ];
    given()
      .when({ ...reserve, lines: twice })
      .thenRefused('duplicate_line');
  });
});

describe('committing', () => {
  test('gives what is set aside to the order', () => {
    given(reserved).when(commit).thenEvents(committed);
  });

  test('again changes nothing', () => {
    given(reserved, committed).when(commit).thenEvents();
  });

  test('after a release changes nothing', () => {
    given(reserved, released).when(commit).thenEvents();
    given(releasedAhead).when(commit).thenEvents();
  });

  test('what was never set aside is a contradiction', () => {
    given().when(commit).thenRefused('confirmed_without_reservation');
    given(rejected).when(commit).thenRefused('confirmed_without_reservation');
  });
});

describe('releasing', () => {
  test('puts back what is set aside', () => {
    given(reserved).when(release).thenEvents(released);
  });

  test('puts back what is committed', () => {
    given(reserved, committed)
      .when(release)
      .thenEvents({ type: 'StockReleased', orderId, from: 'committed', lines });
  });

  test('ahead of its reservation is remembered', () => {
    given().when(release).thenEvents(releasedAhead);
  });

  test('again, or after a rejection, changes nothing', () => {
    given(reserved, released).when(release).thenEvents();
    given(rejected).when(release).thenEvents();
  });
});

describe('releasing a part', () => {
  test('puts back these pieces, from where they are', () => {
    given(reserved).when(releasePart).thenEvents(partReleased());
    given(reserved, committed).when(releasePart).thenEvents(partReleased('committed'));
  });

  test('leaves the rest to be committed, and to be released', () => {
    given(reserved, partReleased()).when(commit).thenEvents({ type: 'StockCommitted', orderId, lines: rest });
    given(reserved, partReleased())
      .when(release)
      .thenEvents({ ...released, lines: rest } as ReservationEvent);
    given(reserved, committed, partReleased('committed'))
      .when(release)
      .thenEvents({ type: 'StockReleased', orderId, from: 'committed', lines: rest });
  });

  test('again changes nothing, wherever the pieces were by then', () => {
    given(reserved, partReleased()).when(releasePart).thenEvents();
    given(reserved, partReleased(), { type: 'StockCommitted', orderId, lines: rest })
      .when(releasePart)
      .thenEvents();
    given(reserved, partReleased(), { ...released, lines: rest } as ReservationEvent)
      .when(releasePart)
      .thenEvents();
  });

  test('again in another order of its lines changes nothing either', () => {
    const two = [...part.lines, { sku: 'LANTERN', quantity: 1 }];
    const event = { ...partReleased(), lines: two } as ReservationEvent;
    given(reserved, event)
      .when({ ...releasePart, part: { ...part, lines: two.toReversed() } })
      .thenEvents();
  });

  test('of other pieces under the same id is a contradiction', () => {
    const other: Part = { ...part, lines: [{ sku: 'HEART', quantity: 1 }] };
    for (const event of [partReleased(), awaited])
      given(...(event === awaited ? [] : [reserved]), event)
        .when({ ...releasePart, part: other })
        .thenRefused('part_released_differently');
  });

  test('of as many pieces as are left, and no more', () => {
    const more: Part = { id: 'rfd_1', lines: [{ sku: 'HEART', quantity: 2 }] };
    const last: Part = { id: 'rfd_1', lines: [{ sku: 'HEART', quantity: 1 }] };
    const before = given(reserved, committed, partReleased('committed'));
    before.when({ ...releasePart, part: more }).thenRefused('more_than_left_to_release');
    before
      .when({ ...releasePart, part: last })
      .thenEvents({ type: 'StockReleased', orderId, from: 'committed', lines: last.lines, part: 'rfd_1' });
    given(reserved)
      .when({ ...releasePart, part: { id: 'amd_1', lines: [{ sku: 'TEAPOT', quantity: 1 }] } })
      .thenRefused('more_than_left_to_release');
  });

  test('with one product twice is refused: each alone would be there', () => {
    const twice = [
      { sku: 'HEART', quantity: 2 },
      { sku: 'HEART', quantity: 2 },
    ];
    given(reserved)
      .when({ ...releasePart, part: { id: 'amd_1', lines: twice } })
      .thenRefused('duplicate_line');
  });

  test('ahead of its reservation is awaited, and goes back as soon as that is made', () => {
    given().when(releasePart).thenEvents(awaited);
    given(awaited).when(releasePart).thenEvents();
    given(awaited).when(reserve).thenEvents(reserved, partReleased());
    const second: Part = { id: 'amd_2', lines: [{ sku: 'LANTERN', quantity: 2 }] };
    given(awaited, { ...awaited, part: second } as ReservationEvent)
      .when(reserve)
      .thenEvents(reserved, partReleased(), {
        type: 'StockReleased',
        orderId,
        from: 'reserved',
        lines: second.lines,
        part: 'amd_2',
      });
  });

  test('ahead of its reservation does not make do with less stock: what comes first must not decide', () => {
    given(awaited).when(reserve, { HEART: 1, LANTERN: 2 }).thenEvents(rejected);
  });

  test('ahead of its reservation, of more than that sets aside, is a contradiction, and nothing is set aside', () => {
    const more: Part = { id: 'amd_1', lines: [{ sku: 'HEART', quantity: 4 }] };
    given({ ...awaited, part: more } as ReservationEvent)
      .when(reserve)
      .thenRefused('more_than_left_to_release');
  });

  test('after all has gone back, or where nothing was set aside, changes nothing', () => {
    given(reserved, released).when(releasePart).thenEvents();
    given(releasedAhead).when(releasePart).thenEvents();
    given(rejected).when(releasePart).thenEvents();
    given(awaited).when(release).thenEvents(releasedAhead);
    given(awaited, releasedAhead).when(reserve).thenEvents();
  });

  test('of every piece leaves an order with none', () => {
    const all: ReservationEvent = { ...partReleased(), lines } as ReservationEvent;
    given(reserved, all).when(commit).thenEvents({ type: 'StockCommitted', orderId, lines: [] });
    given(reserved, all)
      .when(release)
      .thenEvents({ ...released, lines: [] } as ReservationEvent);
  });
});

describe('the messages about an order', () => {
  type Counts = Record<'onHand' | 'reserved' | 'committed', Record<string, number>>;

  /** The stock after these commands. */
  function play(commands: readonly ReservationCommand[], onHand: Record<string, number>) {
    const stock: Counts = { onHand: { ...onHand }, reserved: {}, committed: {} };
    const move = (
      lines: readonly { sku: string; quantity: number }[],
      from: keyof Counts,
      to: keyof Counts,
    ) => {
      for (const { sku, quantity } of lines) {
        stock[from][sku] = (stock[from][sku] ?? 0) - quantity;
        stock[to][sku] = (stock[to][sku] ?? 0) + quantity;
        expect(stock[from][sku]).toBeGreaterThanOrEqual(0);
      }
    };
    let state: Reservation = initialState();
    for (const command of commands) {
      // Orders confirms what it was told is reserved; before that there is no such message.
      if (command.type === 'Commit' && (state.status === 'none' || state.status === 'rejected')) continue;
      for (const event of decide(command, state, (sku) => stock.onHand[sku] ?? 0)) {
        if (event.type === 'StockReserved') move(event.lines, 'onHand', 'reserved');
        if (event.type === 'StockCommitted') move(event.lines, 'reserved', 'committed');
        if (event.type === 'StockReleased') move(event.lines, event.from, 'onHand');
        state = evolve(state, event);
      }
    }
    return withoutZeros(stock);
  }

  const withoutZeros = (stock: Counts) =>
    Object.fromEntries(
      Object.entries(stock).map(([name, counts]) => [
        name,
        Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)),
      ]),
    );

  function permutations<T>(items: readonly T[]): T[][] {
    if (items.length === 0) return [[]];
    return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((others) => [item, ...others]));
  }

  const first: Part = { id: 'amd_1', lines: [{ sku: 'HEART', quantity: 1 }] };
  const second: Part = {
    id: 'amd_2',
    lines: [
      { sku: 'LANTERN', quantity: 1 },
      { sku: 'HEART', quantity: 2 },
    ],
  };
  const all: ReservationCommand[] = [
    reserve,
    { type: 'Release', orderId, part: first },
    { type: 'Release', orderId, part: second },
    release,
  ];

  /** Those with the confirmation in every place that it can have: behind the reservation. */
  const arrivals = (commands: readonly ReservationCommand[], confirmed: boolean) =>
    permutations(confirmed ? [...commands, commit] : commands).filter(
      (order) => !confirmed || order.indexOf(commit) > order.indexOf(reserve),
    );

  test.each([
    ['plenty', { HEART: 10, LANTERN: 10 }],
    ['just enough', { HEART: 3, LANTERN: 2 }],
    ['enough only for what is left of it', { HEART: 1, LANTERN: 1 }],
    ['none', {}],
  ])('leave the same stock in every order of arrival: %s', (_, onHand) => {
    let played = 0;
    for (const confirmed of [false, true])
      for (let mask = 0; mask < 8; mask++) {
        const commands = all.filter((_, i) => i === 0 || mask & (1 << (i - 1)));
        const outcomes = arrivals(commands, confirmed).map((order) => play(order, onHand));
        expect(new Set(outcomes.map((outcome) => JSON.stringify(sorted(outcome))))).toHaveProperty('size', 1);
        played += outcomes.length;
      }
    expect(played).toBe(permutationsPlayed);
  });

  /** Of 1, 2, 2, 2, 3, 3, 3, 4 messages; with the confirmation half of those of one more. */
  const permutationsPlayed = 1 + 3 * 2 + 3 * 6 + 24 + (1 + 3 * 3 + 3 * 12 + 60);

  test('leave the same stock in any order, some of them more than once, of any lines', () => {
    const quantity = fc.integer({ min: 1, max: 4 });
    const anyCase = fc
      .record({ HEART: quantity, LANTERN: quantity, onHand: fc.integer({ min: 0, max: 6 }) })
      .chain(({ HEART, LANTERN, onHand }) =>
        fc.record({
          lines: fc.constant([
            { sku: 'HEART', quantity: HEART },
            { sku: 'LANTERN', quantity: LANTERN },
          ]),
          one: fc.integer({ min: 1, max: HEART }),
          two: fc.integer({ min: 1, max: LANTERN }),
          onHand: fc.constant({ HEART: onHand, LANTERN: onHand }),
          arrival: fc.array(fc.constantFrom(0, 1, 2, 3, 4), { maxLength: 12 }),
          last: fc.boolean(),
        }),
      );
    fc.assert(
      fc.property(anyCase, ({ lines, one, two, onHand, arrival, last }) => {
        const commands: ReservationCommand[] = [
          { type: 'Reserve', orderId, lines },
          { type: 'Release', orderId, part: { id: 'a', lines: [{ sku: 'HEART', quantity: one }] } },
          { type: 'Release', orderId, part: { id: 'b', lines: [{ sku: 'LANTERN', quantity: two }] } },
          commit,
          release,
        ];
        // Each message comes at least once, and a confirmation after all of the reservation's answer.
        const wanted = last ? [0, 1, 2, 3, 4] : [0, 1, 2, 3];
        const order = [...arrival.filter((n) => wanted.includes(n)), ...wanted];
        const plain = play(
          wanted.map((n) => commands[n] as ReservationCommand),
          onHand,
        );
        const mixed = play(
          order.map((n) => commands[n] as ReservationCommand),
          onHand,
        );
        expect(mixed).toEqual(plain);
      }),
      { seed, numRuns: 1000 },
    );
  });

  const sorted = (value: object) =>
    Object.fromEntries(
      Object.entries(value).map(([name, counts]) => [
        name,
        Object.fromEntries(Object.entries(counts).sort()),
      ]),
    );
});
