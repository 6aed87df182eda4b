import { readdirSync, readFileSync } from 'node:fs';
import { requireUpcasters, toEvent, toState } from '@sidecart/event-sourcing/aggregate';
import { describe, expect, test } from 'vitest';
import { order } from './aggregate.ts';
import type { OrderEvent } from './order-events.ts';
import { evolve, initialState, type OrderState } from './order-state.ts';
import { toOrder } from './view.ts';

// What was stored once is read for ever. A sample is of one shape of one event, as it was stored when the shape came out, and is never
// written again; a new shape gets a new version, an upcaster from the old one, and a sample beside the others. `state` is that of
// a condensed stream, made of the samples that STORY names.

const folder = new URL('../samples/', import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'));

interface Sample {
  type: string;
  version: number;
}
const samples: Sample[] = readdirSync(folder).map((file) => {
  const [, type = '', version] = /^(\w+)\.v(\d+)\.json$/.exec(file) ?? [];
  return { type, version: Number(version) };
});
const eventOf = ({ type, version }: Sample): OrderEvent =>
  toEvent<OrderEvent>(order.events, { type, schemaVersion: version, data: read(`${type}.v${version}`) });
const newest = (type: string): Sample => ({
  type,
  version: order.events[type as OrderEvent['type']].version,
});

const STORY = [
  'OrderPlaced',
  'StockHeld',
  'OrderConfirmed',
  'OrderHandedOver',
  'OrderShipped',
  'OrderDelivered',
  'RefundRequested',
  'OrderRefunded',
];

test('there is a sample of every shape that was ever stored, and the code reads all of them', () => {
  const shapes = { ...order.events, state: order.state };
  const wanted = Object.entries(shapes).flatMap(([type, { version }]) =>
    Array.from({ length: version }, (_, i) => `${type}.v${i + 1}`),
  );
  expect(samples.map(({ type, version }) => `${type}.v${version}`).sort()).toEqual(wanted.sort());
  requireUpcasters(order);
});

describe.each(samples.filter(({ type }) => type !== 'state'))('$type of version $version', (sample) => {
  test('is what its newest sample is', () => {
    expect(eventOf(sample)).toEqual(eventOf(newest(sample.type)));
  });

  test('makes an order that can be shown', () => {
    toOrder([eventOf(newest('OrderPlaced')), eventOf(sample)].reduce(evolve, initialState()));
  });
});

describe.each(samples.filter(({ type }) => type === 'state'))(
  'a condensed state of version $version',
  ({ version }) => {
    test('is what its events make', () => {
      const made = STORY.map((type) => eventOf(newest(type))).reduce(evolve, initialState());
      expect(toState<OrderState>(order, version, read(`state.v${version}`))).toEqual(
        JSON.parse(JSON.stringify(made)),
      );
    });
  },
);
