import type { Message } from './ledger.ts';

export interface ArmOptions {
  /** Of a database that has the arm's tables and `business`. */
  url: string;
  /** Messages of one key have to be handled in the order of their commits. */
  ordered: boolean;
  /** Messages of one business transaction: 1, or a batch. */
  perTransaction: number;
  /** Transactions that are written at once at most. */
  writers: number;
  /** The handler: it notes the message and does nothing else, the same for all arms. */
  handled: (message: Message) => void;
}

/** An arm in one process: the service that writes messages to itself and handles them. */
export interface OpenArm {
  /** One business transaction with these messages; resolves after its commit. */
  write(messages: Message[]): Promise<void>;
  /** Begins to handle what is committed. */
  start(): Promise<void>;
  /** Ends handling, in order. */
  stop(): Promise<void>;
  /** Committed messages that are not handled; asked after `stop`. */
  waiting(): Promise<number>;
  close(): Promise<void>;
}

/** One way to get a message from a committed transaction to a handler. */
export interface Arm {
  /** Makes the arm's tables. */
  prepare(url: string, o: { ordered: boolean }): Promise<void>;
  open(o: ArmOptions): Promise<OpenArm>;
}
