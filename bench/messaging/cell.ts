import type { Faults } from './ledger.ts';

/** What a child process is to do: one cell of one arm. */
export type CellJob =
  | { kind: 'race'; arm: string; url: string; ordered: boolean; perTransaction: number; ms: number }
  | { kind: 'backlog'; arm: string; url: string; rows: number }
  | { kind: 'bursts'; arm: string; url: string; rows: number; ms: number }
  | { kind: 'soak'; arm: string; url: string; perSecond: number; ms: number }
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
      /** Of a backlog. */
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

export interface Latencies {
  p50: number;
  p99: number;
  p999: number;
}

/** What it found. */
export interface CellOutcome {
  /** Messages handled (or whatever the cell counts) in `seconds`. */
  count: number;
  seconds: number;
  faults: Faults;
  /** Committed messages that a slow arm had not handled at the end. */
  left?: number;
  /** From commit to effect, or of one transaction, ms. */
  latencies?: Latencies;
  /** The same of each part of a soak. */
  parts?: Latencies[];
}

export type FromCell = { mark: 'begin' | 'end' } | { outcome: CellOutcome } | { error: string };

export const WRITERS = 8;
export const BATCH = 100;
/** A soak is told of in so many equal parts; a transaction stands open in another database in all but the first and the last. */
export const SOAK_PARTS = 6;

/** Through the broker. */
export const BROKER_ARMS = ['sidecart', 'bare sidecar', 'bare sidecar after a transaction'] as const;

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
