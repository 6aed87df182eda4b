/** What a child process is to do: one cell of one arm. */
export type CellJob =
  | { kind: 'append'; arm: string; url: string; events: number; writers: number; ms: number }
  | { kind: 'load'; arm: string; url: string; length: number; snapshot: boolean; ms: number }
  | { kind: 'rebuild'; arm: string; url: string; events: number }
  | { kind: 'condense'; arm: string; url: string; length: number; streams: number };

export const OWN = 'sidecart';
/** An append of this project on the pool, with nothing else in its transaction, as the peer's is here. */
export const OWN_ALONE = 'sidecart, one statement';
export const PEER = 'emmett';
export const RAW = 'raw';
/** The same as a statement of its own, where nothing else could be part of the transaction. */
export const RAW_ALONE = 'raw, one statement';
export const BARE_LOOP = 'bare loop';
/** The same appenders for the same time, and nobody condenses. */
export const UNDISTURBED = 'not condensing';
