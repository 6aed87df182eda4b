import { describe, expect, it } from 'vitest';
import { type AnyAggregate, requireUpcasters, toEvent, toState, toStored } from './aggregate.ts';
import { fold } from './decider.ts';
import { specification } from './testing.ts';

type Event =
  | { type: 'Priced'; amount: { minor: number; currency: string }; by: string }
  | { type: 'Renamed'; name: string };

/** Shapes as years leave them: `Priced` is in its third. */
const priceTag: AnyAggregate = {
  type: 'price_tag',
  state: {
    version: 2,
    upcast: { 1: ({ pence, ...rest }) => ({ ...rest, amount: { minor: pence, currency: 'GBP' } }) },
  },
  events: {
    Priced: {
      version: 3,
      upcast: {
        1: ({ pounds }) => ({ amount: { minor: Math.round(pounds * 100), currency: 'GBP' } }),
        2: (old) => ({ ...old, by: 'unknown' }),
      },
    },
    Renamed: { version: 1 },
  },
  initialState: () => ({ name: '' }),
  decide: () => [],
  evolve: (state, event: Event) =>
    event.type === 'Priced'
      ? { ...state, amount: event.amount }
      : event.type === 'Renamed'
        ? { ...state, name: event.name }
        : state,
};

// As a row had it, one for each shape that was ever stored.
const SAMPLES = [
  { type: 'Priced', schemaVersion: 1, data: { pounds: 12.3 } },
  { type: 'Priced', schemaVersion: 2, data: { amount: { minor: 1230, currency: 'GBP' } } },
  { type: 'Priced', schemaVersion: 3, data: { amount: { minor: 1230, currency: 'GBP' }, by: 'unknown' } },
];

describe('a stored event', () => {
  it.each(SAMPLES)('of version $schemaVersion is read in the shape of today', (stored) => {
    expect(toEvent(priceTag.events, stored)).toEqual({
      type: 'Priced',
      amount: { minor: 1230, currency: 'GBP' },
      by: 'unknown',
    });
  });

  it('in the shape of today comes back as it was', () => {
    const event = { type: 'Priced', amount: { minor: 5, currency: 'EUR' }, by: 'ana' };
    expect(toEvent(priceTag.events, toStored(priceTag.events, event))).toEqual(event);
  });

  it('is not changed by its upcasters: a row is read more than once', () => {
    const stored = structuredClone(SAMPLES[0] as (typeof SAMPLES)[0]);
    toEvent(priceTag.events, stored);
    expect(stored).toEqual(SAMPLES[0]);
  });

  it('of a version from the future is refused, as it would be misread', () => {
    const stored = { type: 'Priced', schemaVersion: 4, data: {} };
    expect(() => toEvent(priceTag.events, stored)).toThrow('run the code that wrote it, or newer');
  });

  it('of a type from the future leaves the state alone', () => {
    const event = toEvent<Event>(priceTag.events, { type: 'Recalled', schemaVersion: 1, data: { a: 1 } });
    expect(fold(priceTag, { name: 'x' }, [event])).toEqual({ name: 'x' });
  });

  it('whose type is a word of JavaScript is one that nobody knows', () => {
    expect(toEvent(priceTag.events, { type: 'constructor', schemaVersion: 1, data: {} })).toEqual({
      type: 'constructor',
    });
    expect(() => toStored(priceTag.events, { type: 'toString' })).toThrow('has no shape');
  });
});

describe('a stored state', () => {
  it('of an older version is brought to that of today', () => {
    expect(toState(priceTag, 1, { name: 'x', pence: 5 })).toEqual({
      name: 'x',
      amount: { minor: 5, currency: 'GBP' },
    });
    expect(toState(priceTag, 2, { name: 'x' })).toEqual({ name: 'x' });
  });

  it('of a newer version is refused', () => {
    expect(() => toState(priceTag, 3, {})).toThrow('The state of price_tag is stored in version 3');
  });
});

describe('an aggregate', () => {
  it('without an upcaster from each old shape is refused at the start', () => {
    requireUpcasters(priceTag);
    const events = { Priced: { version: 3, upcast: { 1: (old: unknown) => old } } };
    expect(() => requireUpcasters({ ...priceTag, events })).toThrow('no upcaster from it to 3');
    expect(() => requireUpcasters({ ...priceTag, state: { version: 2 } })).toThrow('The state of price_tag');
  });
});

describe('a specification', () => {
  const given = specification<number, { add: number }, { type: 'Added'; n: number }>({
    initialState: () => 0,
    decide({ add }, sum) {
      if (sum + add < 0) throw Object.assign(new Error('no'), { code: 'below_zero' });
      return add === 0 ? [] : [{ type: 'Added', n: add }];
    },
    evolve: (sum, { n }) => sum + n,
  });

  it('passes what happens as it says, and fails what does not', () => {
    const history = [{ type: 'Added' as const, n: 2 }];
    given(history)
      .when({ add: 1 })
      .thenEvents([{ type: 'Added', n: 1 }]);
    given(history).when({ add: 0 }).thenEvents([]);
    given(history).when({ add: -3 }).thenThrows('below_zero');
    expect(() => given(history).when({ add: 1 }).thenEvents([])).toThrow('but got');
    expect(() => given(history).when({ add: 1 }).thenThrows('below_zero')).toThrow('but this happened');
    expect(() => given(history).when({ add: -3 }).thenThrows('other')).toThrow('no');
  });
});
