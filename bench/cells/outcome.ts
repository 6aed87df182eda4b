/** What is wrong with a cell, in words; empty when its figures count. */
export type Faults = string[];

export interface Latencies {
  p50: number;
  p99: number;
  p999: number;
}

/** What a cell found. */
export interface CellOutcome {
  /** What was done in `seconds`: messages handled, appends, or whatever the cell counts. */
  count: number;
  seconds: number;
  faults: Faults;
  /** Committed messages that a slow arm had not handled at the end. */
  left?: number;
  /** Of one message, append or load, ms. */
  latencies?: Latencies;
  /** Of all appends while streams were condensed, where `latencies` has the longest of each stream. */
  during?: Latencies;
  /** The same of each part of a soak, how much was done in it, and the longest time in which nothing was, ms. */
  parts?: (Latencies & { count: number; pause: number })[];
}

/** What a cell used while it was measured, processor seconds by who used them. */
export type Used = Record<string, number>;

export interface CellRun extends CellOutcome {
  cpu: Used;
  walBytes: number;
}

export type FromCell = { mark: 'begin' | 'end' } | { outcome: CellOutcome } | { error: string };

/** Tells the parent that measuring begins or ends, and resolves once it has read its meters. */
export type Mark = (which: 'begin' | 'end') => Promise<void>;
