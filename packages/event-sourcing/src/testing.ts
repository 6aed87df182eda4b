import { isDeepStrictEqual } from 'node:util';
import { createMessagingTables, statementsFor } from '@sidecart/messaging/testing';
import postgres from 'postgres';
import { type Decider, fold, type Tagged } from './decider.ts';
import { events, eventsArchive, snapshots, streams, subscriptions } from './schema.ts';

/**
 * Tests of a decider's rules: given what has happened, when a command comes, then this happens.
 *
 * @example
 * const given = specification(order);
 * given([placed]).when(cancel).thenEvents([cancelled]);
 * given([rejected]).when(cancel).thenThrows('order_not_cancellable');
 */
export function specification<State, Command, Event extends Tagged>(
  decider: Decider<State, Command, Event>,
): (history: readonly Event[]) => {
  when(command: Command): { thenEvents(expected: readonly Event[]): void; thenThrows(code: string): void };
} {
  return (history) => ({
    when(command) {
      const decide = () => decider.decide(command, fold(decider, decider.initialState(), history));
      return {
        thenEvents(expected) {
          const happened = decide();
          if (!isDeepStrictEqual(withoutUndefined(happened), withoutUndefined(expected)))
            throw new Error(
              `Expected ${JSON.stringify(expected, null, 1)}\nbut got ${JSON.stringify(happened, null, 1)}`,
            );
        },
        thenThrows(code) {
          let happened: Event[];
          try {
            happened = decide();
          } catch (err) {
            if ((err as { code?: unknown }).code === code) return;
            throw err;
          }
          throw new Error(`Expected ${code}, but this happened: ${JSON.stringify(happened)}`);
        },
      };
    },
  });
}

/** Makes the tables of event store and messaging as their schemas describe them; a service gets them from its migrations instead. */
export async function createEventTables(ownerUrl: string): Promise<void> {
  await createMessagingTables(ownerUrl);
  const client = postgres(ownerUrl, { max: 1, onnotice: () => {} });
  try {
    for (const table of [streams, events, snapshots, subscriptions, eventsArchive])
      for (const statement of statementsFor(table)) await client.unsafe(statement);
  } finally {
    await client.end();
  }
}

function withoutUndefined(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
