import type { Account, Deposited } from './account.ts';
import type { Layout } from './layout.ts';

/** One way to append events to streams. */
export interface AppendArm {
  layout: Layout;
  open(o: { url: string; writers: number }): Promise<Appender>;
}

export interface Appender {
  /** After exactly this version, committed when it resolves; false: the stream is at another, and nothing was written. */
  append(stream: string, expectedVersion: number, events: readonly Deposited[]): Promise<boolean>;
  close(): Promise<void>;
}

/** One way to make a stream's state from its events, or from a snapshot and what came after it. */
export interface LoadArm {
  layout: Layout;
  open(o: { url: string; snapshot: boolean }): Promise<Loader>;
}

export interface Loader {
  load(stream: string): Promise<{ state: Account; version: number }>;
  close(): Promise<void>;
}

/** One way to make the read model anew; resolves when it is there. */
export interface RebuildArm {
  layout: Layout;
  /** Gets ready; what it answers with does it. */
  open(o: { url: string; events: number }): Promise<{ rebuild(): Promise<void>; close(): Promise<void> }>;
}
