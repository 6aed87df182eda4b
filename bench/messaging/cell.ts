/** What a child process is to do: one cell of one arm. */
export type CellJob =
  | { kind: 'race'; arm: string; url: string; ordered: boolean; perTransaction: number; ms: number }
  | { kind: 'backlog'; arm: string; url: string; rows: number }
  | { kind: 'bursts'; arm: string; url: string; rows: number; ms: number }
  | { kind: 'soak'; arm: string; url: string; perSecond: number; ms: number }
  | {
      kind: 'beside';
      arm: string;
      url: string;
      perSecond: number;
      ms: number;
      /** Of the long key. */
      rows: number;
    }
  | { kind: 'raw'; arm: string; url: string; ms: number }
  | { kind: 'price'; arm: string; url: string; ms: number }
  | {
      kind: 'broker';
      arm: string;
      url: string;
      /** Of another database: the receiving service has its own. */
      receiverDatabase: string;
      place: BrokerPlace;
      load: 'writers' | 'backlog' | 'paced';
      ms: number;
      /** Of a backlog, or of the long key that a paced load is beside. */
      rows: number;
      /** Of a paced load. */
      perSecond: number;
    };

/** Where the messages of a cell go in and come out. */
export interface BrokerPlace {
  publishUrl: string;
  headers: Record<string, string>;
  receiverUrl: string;
}

export const WRITERS = 8;
export const BATCH = 100;
/** A soak is told of in so many equal parts; a transaction stands open in another database in all but the first and the last. */
export const SOAK_PARTS = 6;

/** Through the broker. */
export const BROKER_ARMS = [
  'sidecart',
  'bare sidecar',
  'bare sidecar after a transaction',
  'sidecart, beside a long key',
] as const;

/** What a steady load is beside of, without a broker. */
export const BESIDE = ['nothing', 'a long key', 'a long key that fails'] as const;

/** What PostgreSQL alone does at most. */
export const RAW_LIMITS = ['one-row commit', 'batched insert', 'batched delete'] as const;

const BODIES = ['one row', 'an order'] as const;
const MESSAGES = ['no message', 'a fact', 'a message to itself'] as const;

/** Transactions with and without a message: `one row, a fact` and so on. */
export const PRICE = {
  bodies: BODIES,
  messages: MESSAGES,
  arms: BODIES.flatMap((body) => MESSAGES.map((message) => `${body}, ${message}`)),
};
