import type { Aggregate } from '@sidecart/event-sourcing/aggregate';

// What all arms write, load and project: accounts with deposits, of the same bytes everywhere.

export interface Deposited {
  type: 'Deposited';
  /** Of all events of a cell, from 0: each must be there once. */
  n: number;
  pence: number;
  /** Makes the event as long as it shall be. */
  filler: string;
}

export interface Account {
  events: number;
  pence: number;
  /** Of the deposits in their order: another order makes another trail. */
  trail: number;
}

/** Bytes of an event's data as JSON. */
export const EVENT_BYTES = 256;

export const STREAM_TYPE = 'account';
export const EVENT_TYPE = 'Deposited';
export const SCHEMA_VERSION = 1;

/** What is kept beside an event of a request: who, why, which request and trace. */
export const META = {
  actor: 'customer',
  customerId: 'cus_01993b0e-6f0a-7c3e-9b1d-2f6a4c8e0d17',
  command: 'Deposit',
  requestId: '01993b0e-6f0a-7c3e-9b1d-3a7b5d9f1e28',
  correlationId: '01993b0e-6f0a-7c3e-9b1d-4b8c6eaf2f39',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};

/** The event whose JSON, type aside, is exactly {@link EVENT_BYTES} long. */
export function deposited(n: number, pence = penceOf(n)): Deposited {
  const bare = JSON.stringify({ n, pence, filler: '' }).length;
  return { type: EVENT_TYPE, n, pence, filler: 'x'.repeat(Math.max(0, EVENT_BYTES - bare)) };
}

/** Told from its number, so that SQL can make the same events. */
export const penceOf = (n: number) => (n * 7) % 1000;

export const initialAccount = (): Account => ({ events: 0, pence: 0, trail: 0 });

export const evolveAccount = (state: Account, { pence }: Pick<Deposited, 'pence'>): Account => ({
  events: state.events + 1,
  pence: state.pence + pence,
  trail: (state.trail * 31 + pence) % 1_000_003,
});

/** The account after so many deposits whose numbers begin at `first`. */
export function accountAfter(count: number, first = 0, before = initialAccount()): Account {
  let state = before;
  for (let n = first; n < first + count; n += 1) state = evolveAccount(state, { pence: penceOf(n) });
  return state;
}

export const account: Aggregate<Account, never, Deposited> = {
  type: STREAM_TYPE,
  state: { version: 1 },
  events: { Deposited: { version: SCHEMA_VERSION } },
  initialState: initialAccount,
  decide: () => [],
  evolve: (state, event) => (event.type === EVENT_TYPE ? evolveAccount(state, event) : state),
};
