import { DomainError } from '@sidecart/kit/domain-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import {
  decide,
  evolve,
  initialState,
  leftToPack,
  MOST_PACKAGES,
  type Package,
  type PackagePacked,
  type ShipmentCommand,
  type ShipmentEvent,
} from './shipment.ts';

const at = '2026-03-14T09:26:53.589Z';
const orderId = 'ord_1';
const shipmentId = 'shp_1';
const subject = { orderId, shipmentId };
const line = (sku: string, quantity: number) => ({ sku, quantity });

const lines = [line('HEART', 3), line('LANTERN', 2)];
const fewer = [line('HEART', 1), line('LANTERN', 2)];

const create: ShipmentCommand = { type: 'Create', ...subject, lines, at };
const amend: ShipmentCommand = { type: 'Amend', orderId, amendmentId: 'amd_1', lines: fewer, at };
const cancel: ShipmentCommand = { type: 'Cancel', orderId, at };
const pack: ShipmentCommand = { type: 'Pack', packageId: 'pkg_1', at };
const handOver: ShipmentCommand = { type: 'HandOver', carrier: 'Royal Mail', tracking: 'AB1', at };
const deliver: ShipmentCommand = { type: 'Deliver', at };
const lose: ShipmentCommand = { type: 'Lose', reason: 'van burnt out', at };

const created: ShipmentEvent = { type: 'ShipmentCreated', ...subject, lines, at };
const amended = (packages: Package[] = []): ShipmentEvent => ({
  type: 'ShipmentAmended',
  orderId,
  amendmentId: 'amd_1',
  lines: fewer,
  packages,
  at,
});
const cancelled: ShipmentEvent = { type: 'ShipmentCancelled', orderId, at };
const packed = (packageLines = lines, id = 'pkg_1'): PackagePacked => ({
  type: 'PackagePacked',
  orderId,
  package: { id, weightGrams: undefined, lines: packageLines },
  at,
});
const handedOver: ShipmentEvent = {
  type: 'ShipmentHandedOver',
  ...subject,
  lines,
  carrier: 'Royal Mail',
  tracking: 'AB1',
  at,
};
const delivered: ShipmentEvent = { type: 'ShipmentDelivered', ...subject, at };
const lost: ShipmentEvent = { type: 'ShipmentLost', ...subject, reason: 'van burnt out', at };

const left = [created, packed(), handedOver];

function given(...events: ShipmentEvent[]) {
  const state = events.reduce(evolve, initialState());
  return {
    when(command: ShipmentCommand) {
      const run = () => decide(command, state);
      return {
        thenEvents: (...expected: ShipmentEvent[]) => expect(run()).toEqual(expected),
        thenRefused(code: string, errors?: object[]) {
          expect(run).toThrowError(DomainError);
          expect(run).toThrowError(expect.objectContaining({ code, ...(errors && { errors }) }));
        },
      };
    },
  };
}

describe('creating', () => {
  test('has the lines of the order packed', () => {
    given().when(create).thenEvents(created);
  });

  test('again, even with other lines, changes nothing: an order has one shipment', () => {
    const other: ShipmentCommand = { ...create, shipmentId: 'shp_2', lines: fewer };
    given(created).when(other).thenEvents();
    given(...left)
      .when(other)
      .thenEvents();
    given(...left, delivered)
      .when(other)
      .thenEvents();
    given(...left, lost)
      .when(other)
      .thenEvents();
  });

  test('after a cancellation, also one that overtook it, makes nothing', () => {
    given(cancelled).when(create).thenEvents();
    given(created, cancelled).when(create).thenEvents();
  });

  test('after an amendment that overtook it takes the amended lines', () => {
    given(amended())
      .when(create)
      .thenEvents({ ...created, lines: fewer });
  });

  test('with one product twice is refused', () => {
    given()
      .when({ ...create, lines: [line('HEART', 1), line('HEART', 2)] })
      .thenRefused('duplicate_line');
  });
});

describe('amending', () => {
  test('has these lines packed in place of the earlier ones', () => {
    given(created).when(amend).thenEvents(amended());
  });

  test('ahead of the shipment is remembered, and answered at once', () => {
    given().when(amend).thenEvents(amended());
  });

  test('again changes nothing, not even when a later amendment came in between', () => {
    given(created, amended()).when(amend).thenEvents();
    given(amended()).when(amend).thenEvents();
    const later: ShipmentEvent = {
      type: 'ShipmentAmended',
      orderId,
      amendmentId: 'amd_2',
      lines: [line('LANTERN', 2)],
      packages: [],
      at,
    };
    given(created, amended(), later).when(amend).thenEvents();
  });

  test('takes packages apart that hold more than is wanted now, and leaves the others', () => {
    const hearts = packed([line('HEART', 3)], 'pkg_1');
    const lanterns = packed([line('LANTERN', 2)], 'pkg_2');
    given(created, hearts, lanterns)
      .when(amend)
      .thenEvents(amended([lanterns.package]));
  });

  test('of packages with the same product keeps the first that fit', () => {
    const each = ['pkg_1', 'pkg_2', 'pkg_3'].map((id) => packed([line('HEART', 1)], id));
    given(created, ...each)
      .when(amend)
      .thenEvents(amended(each.slice(0, 1).map((event) => event.package)));
  });

  test('takes a package apart that holds a line taken off', () => {
    given(created, packed())
      .when({ ...amend, lines: [line('LANTERN', 2)] })
      .thenEvents({ ...amended(), lines: [line('LANTERN', 2)] } as ShipmentEvent);
  });

  test('after it has left, or was cancelled, changes nothing', () => {
    given(...left)
      .when(amend)
      .thenEvents();
    given(...left, delivered)
      .when(amend)
      .thenEvents();
    given(...left, lost)
      .when(amend)
      .thenEvents();
    given(created, cancelled).when(amend).thenEvents();
    given(cancelled).when(amend).thenEvents();
  });

  test('to one product twice is refused', () => {
    given(created)
      .when({ ...amend, lines: [line('HEART', 1), line('HEART', 2)] })
      .thenRefused('duplicate_line');
  });
});

describe('cancelling', () => {
  test('before it has left, packed or not', () => {
    given(created).when(cancel).thenEvents(cancelled);
    given(created, packed()).when(cancel).thenEvents(cancelled);
  });

  test('ahead of the shipment, amended or not, is remembered', () => {
    given().when(cancel).thenEvents(cancelled);
    given(amended()).when(cancel).thenEvents(cancelled);
  });

  test('again, or after it has left, changes nothing', () => {
    given(created, cancelled).when(cancel).thenEvents();
    given(cancelled).when(cancel).thenEvents();
    given(...left)
      .when(cancel)
      .thenEvents();
    given(...left, delivered)
      .when(cancel)
      .thenEvents();
    given(...left, lost)
      .when(cancel)
      .thenEvents();
  });
});

describe('packing', () => {
  test('puts some pieces into a package', () => {
    const some = [line('HEART', 2)];
    given(created)
      .when({ ...pack, lines: some, weightGrams: 400 })
      .thenEvents({ ...packed(), package: { id: 'pkg_1', weightGrams: 400, lines: some } });
  });

  test('without lines takes all that is left', () => {
    given(created).when(pack).thenEvents(packed());
    given(created, packed([line('HEART', 2)]))
      .when({ ...pack, packageId: 'pkg_2' })
      .thenEvents(packed([line('HEART', 1), line('LANTERN', 2)], 'pkg_2'));
  });

  test('after an amendment packs what is wanted now', () => {
    given(created, amended()).when(pack).thenEvents(packed(fewer));
  });

  test('more than is left is refused, naming each line with what is left', () => {
    given(created, packed([line('HEART', 2)]))
      .when({ ...pack, lines: [line('HEART', 2), line('LANTERN', 2), line('TEAPOT', 1)] })
      .thenRefused('more_than_left_to_pack', [
        expect.objectContaining({ pointer: '/lines/0/quantity', left: 1 }),
        expect.objectContaining({ pointer: '/lines/2/quantity', left: 0 }),
      ]);
  });

  test('one product on two lines is refused: each alone would fit', () => {
    given(created)
      .when({ ...pack, lines: [line('HEART', 2), line('HEART', 2)] })
      .thenRefused('duplicate_line');
  });

  test('nothing is refused', () => {
    given(created, packed()).when(pack).thenRefused('nothing_left_to_pack');
  });

  test('the last package that there may be has to take all that is left', () => {
    const many = [line('HEART', 200)];
    const ninetyNine = Array.from({ length: MOST_PACKAGES - 1 }, (_, i) =>
      packed([line('HEART', 1)], `pkg_${i}`),
    );
    const full = given({ ...created, lines: many }, ...ninetyNine);
    full.when({ ...pack, lines: [line('HEART', 100)] }).thenRefused('too_many_packages');
    full.when(pack).thenEvents(packed([line('HEART', 101)]));
    given({ ...created, lines: many }, ...ninetyNine.slice(1))
      .when({ ...pack, lines: [line('HEART', 1)] })
      .thenEvents(packed([line('HEART', 1)]));
  });

  test('what has left, was cancelled or is not there is refused', () => {
    given(...left)
      .when(pack)
      .thenRefused('shipment_has_left');
    given(created, cancelled).when(pack).thenRefused('shipment_cancelled');
    given().when(pack).thenRefused('not_found');
  });
});

describe('handing over', () => {
  test('of packages with every piece carries the lines', () => {
    given(created, packed()).when(handOver).thenEvents(handedOver);
    given(created, packed([line('HEART', 3)]), packed([line('LANTERN', 2)], 'pkg_2'))
      .when(handOver)
      .thenEvents(handedOver);
  });

  test('after an amendment carries the lines of the amendment', () => {
    given(created, amended(), packed(fewer))
      .when(handOver)
      .thenEvents({ ...handedOver, lines: fewer } as ShipmentEvent);
  });

  test('with pieces in no package is refused, naming them', () => {
    given(created, packed([line('HEART', 1)]))
      .when(handOver)
      .thenRefused('not_all_packed', [
        expect.objectContaining({ pointer: 'path:id', sku: 'HEART', quantity: 2 }),
        expect.objectContaining({ pointer: 'path:id', sku: 'LANTERN', quantity: 2 }),
      ]);
    given(created).when(handOver).thenRefused('not_all_packed');
  });

  test('packages that an amendment took apart are missing', () => {
    given(created, packed(), amended())
      .when(handOver)
      .thenRefused('not_all_packed', [
        expect.objectContaining({ sku: 'HEART', quantity: 1 }),
        expect.objectContaining({ sku: 'LANTERN', quantity: 2 }),
      ]);
  });

  test('again, also to somebody else, changes nothing', () => {
    const other: ShipmentCommand = { ...handOver, carrier: 'DPD' };
    given(...left)
      .when(other)
      .thenEvents();
    given(...left, delivered)
      .when(other)
      .thenEvents();
    given(...left, lost)
      .when(other)
      .thenEvents();
  });

  test('what was cancelled is refused', () => {
    given(created, packed(), cancelled).when(handOver).thenRefused('shipment_cancelled');
  });
});

describe('the end', () => {
  test('is that the customer has it, or that it is lost', () => {
    given(...left)
      .when(deliver)
      .thenEvents(delivered);
    given(...left)
      .when(lose)
      .thenEvents(lost);
  });

  test('is the first of the two; after it nothing changes', () => {
    for (const end of [delivered, lost])
      for (const again of [deliver, lose])
        given(...left, end)
          .when(again)
          .thenEvents();
  });

  test('of what has not left is refused', () => {
    for (const end of [deliver, lose]) {
      given(created, packed()).when(end).thenRefused('shipment_not_handed_over');
      given(created, cancelled).when(end).thenRefused('shipment_cancelled');
      given().when(end).thenRefused('not_found');
    }
  });
});

describe('whatever comes in whatever order', () => {
  const skus = ['HEART', 'LANTERN', 'TEAPOT'];
  const someLines = fc.uniqueArray(
    fc.record({ sku: fc.constantFrom(...skus), quantity: fc.integer({ min: 1, max: 3 }) }),
    { selector: ({ sku }) => sku, minLength: 1 },
  );
  const command: fc.Arbitrary<ShipmentCommand> = fc.oneof(
    { weight: 3, arbitrary: someLines.map((lines) => ({ ...create, lines })) },
    fc.record({
      type: fc.constant('Amend' as const),
      orderId: fc.constant(orderId),
      amendmentId: fc.constantFrom('amd_1', 'amd_2'),
      lines: someLines,
      at: fc.constant(at),
    }),
    fc.constant(cancel),
    { weight: 3, arbitrary: fc.option(someLines, { nil: undefined }).map((lines) => ({ ...pack, lines })) },
    { weight: 3, arbitrary: fc.constant(handOver) },
    fc.constant(deliver),
    fc.constant(lose),
  );

  /** What happens when these commands come; a refused one changes nothing. */
  function play(commands: ShipmentCommand[]) {
    let state = initialState();
    const events: ShipmentEvent[] = [];
    for (const each of commands) {
      try {
        const more = decide(each, state);
        events.push(...more);
        state = more.reduce(evolve, state);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
      }
      // What is packed is never more than what is wanted, so that what leaves is exactly that.
      const wanted = new Map(state.lines.map(({ sku, quantity }) => [sku, quantity]));
      const inPackages = state.packages.flatMap((one) => one.lines);
      for (const sku of skus) {
        const pieces = inPackages
          .filter((one) => one.sku === sku)
          .reduce((sum, one) => sum + one.quantity, 0);
        expect(pieces).toBeLessThanOrEqual(wanted.get(sku) ?? 0);
      }
    }
    return { state, events };
  }
  const count = (events: ShipmentEvent[], ...types: ShipmentEvent['type'][]) =>
    events.filter(({ type }) => types.includes(type)).length;

  test('there is one shipment at most, and it has left or was cancelled, never both', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 25 }), (commands) => {
        const { state, events } = play(commands);
        expect(count(events, 'ShipmentCreated')).toBeLessThanOrEqual(1);
        expect(count(events, 'ShipmentHandedOver', 'ShipmentCancelled')).toBeLessThanOrEqual(1);
        expect(count(events, 'ShipmentDelivered', 'ShipmentLost')).toBeLessThanOrEqual(1);
        const gone = events.findIndex(({ type }) => type === 'ShipmentHandedOver');
        if (gone < 0) return;
        expect(count(events.slice(gone), 'ShipmentAmended', 'PackagePacked', 'ShipmentCancelled')).toBe(0);
        expect(leftToPack(state.lines, state.packages)).toEqual([]);
        expect(events[gone]).toMatchObject({ lines: state.lines });
      }),
      { seed, numRuns: 2000 },
    );
  });

  test('what orders asks for in any order and twice ends in the same place', () => {
    const asked: ShipmentCommand[] = [create, amend, { ...amend, amendmentId: 'amd_1' }, create];
    fc.assert(
      fc.property(fc.shuffledSubarray(asked, { minLength: 4 }), (commands) => {
        expect(play(commands).state).toMatchObject({ status: 'preparing', lines: fewer });
      }),
      { seed },
    );
    fc.assert(
      fc.property(fc.shuffledSubarray([...asked, cancel, cancel], { minLength: 6 }), (commands) => {
        const { state, events } = play(commands);
        expect(state.status).toBe('cancelled');
        expect(count(events, 'ShipmentCancelled')).toBe(1);
      }),
      { seed },
    );
  });
});
