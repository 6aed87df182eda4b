import postgres from 'postgres';
import { connectionError } from './db-errors.ts';
import { type Link, openLink } from './db-link.ts';
import { NO_ROWS } from './db-socket.ts';
import {
  type Handler,
  type Query,
  runTransaction,
  type TransactionWork,
  withPreparation,
} from './db-transaction.ts';
import { parseDatabaseUrl } from './db-url.ts';

export interface PoolOptions {
  url: string;
  applicationName: string;
  max: number;
  statementTimeoutMs: number;
  lockTimeoutMs: number;
  connectTimeoutS: number;
}

export interface Pool {
  sql: postgres.Sql;
  /** Calls `listener` after each transaction that was committed. */
  onCommit(listener: () => void): void;
  /** Calls the listeners. */
  committed(): void;
  close(): Promise<void>;
}

/** One connection with a postgres.js of its own, for one life: it is never connected a second time. */
interface Slot {
  run: Handler;
  sql: postgres.Sql;
  link?: Link;
  busy: boolean;
  /** Fails what it is used for, a query or a transaction, if any: lost, postgres.js may have that in a queue for ever. */
  fail?: ((reason: Error) => void) | undefined;
  /** It has finished a job, so the server was there. */
  proven: boolean;
  openedAt: number;
}

type Options = postgres.Options<Record<string, postgres.PostgresType>> & { host: string[]; port: number[] };

/** Prepared statements and the server's caches for them do not grow for ever. */
const LIFETIME_MS = 30 * 60_000;
/** Who gets no connection for this long is told so, instead of queueing without end. */
const WAIT_MS = 5000;
const CLOSE_GRACE_MS = 5000;
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

/**
 * A pool with one job (a query or a whole transaction) per connection at a time, in place of postgres.js's own, whose
 * connections do not survive a loss (see db-link.ts). What is handed out is used like a postgres.js client; listen,
 * subscribe, reserve and file are left out, and arrays are neither sent nor parsed (drizzle's inArray, or JSON, do).
 */
export function createPool(o: PoolOptions): Pool {
  const slots = new Set<Slot>();
  const commitListeners: (() => void)[] = [];
  const waiting: { resolve(slot: Slot): void; reject(err: unknown): void; timer: NodeJS.Timeout }[] = [];
  let closed = false;

  // Never connects: it parses the URL, and makes queries, which are then run on a slot.
  const { url, tls } = parseDatabaseUrl(o.url);
  const front = postgres(url, {
    max: 1,
    ssl: false, // the link below does that
    connect_timeout: o.connectTimeoutS,
    max_lifetime: 0,
    idle_timeout: 0,
    // Its question about array types is asked where nobody catches: a connection lost just then would end the process.
    fetch_types: false,
    onnotice: () => {},
    connection: {
      application_name: o.applicationName,
      statement_timeout: o.statementTimeoutMs,
      lock_timeout: o.lockTimeoutMs,
      idle_in_transaction_session_timeout: o.statementTimeoutMs * 2,
    },
  });
  const options = front.options as unknown as Options;

  function openSlot(): Slot {
    const slot: Slot = { busy: true, proven: false, openedAt: performance.now() } as Slot;
    const socket = () => {
      // A second life would run what is left of a lost transaction outside of any.
      if (slot.link) throw connectionError('CONNECTION_CLOSED', 'This connection was lost');
      slot.link = openLink({
        host: options.host[0] as string,
        port: options.port[0] as number,
        ...(tls && { tls }),
        answerTimeoutMs: o.statementTimeoutMs + 2000,
        onLost: (reason) => drop(slot, reason),
      });
      return slot.link;
    };
    // The same parsers and serializers for all: drizzle changes them in place.
    slot.sql = postgres({ ...options, socket } as unknown as Options);
    slot.run = (slot.sql`` as unknown as Query).handler;
    slots.add(slot);
    return slot;
  }

  function drop(slot: Slot, reason: Error): void {
    slot.fail?.(reason);
    if (!slots.delete(slot)) return; // it was retired
    // No server to be had: whoever waits would only wait for the same.
    if (![...slots].some((other) => other.proven)) {
      for (const waiter of waiting.splice(0)) {
        clearTimeout(waiter.timer);
        waiter.reject(reason);
      }
    }
    serveNext();
  }

  function takeSlot(): Slot | undefined {
    for (const slot of slots) {
      if (slot.busy) continue;
      slot.busy = true;
      return slot;
    }
    return slots.size < o.max ? openSlot() : undefined;
  }

  function acquire(): Promise<Slot> {
    if (closed) return Promise.reject(connectionError('CONNECTION_ENDED', 'The database is closed'));
    const slot = takeSlot();
    if (slot) return Promise.resolve(slot);
    return new Promise((resolve, reject) => {
      const waiter = {
        resolve,
        reject,
        timer: setTimeout(() => {
          waiting.splice(waiting.indexOf(waiter), 1);
          reject(connectionError('POOL_TIMEOUT', `No connection came free within ${WAIT_MS} ms`));
        }, WAIT_MS),
      };
      waiting.push(waiter);
    });
  }

  function serveNext(): void {
    if (waiting.length === 0) return;
    const slot = takeSlot();
    if (!slot) return;
    const waiter = waiting.shift() as (typeof waiting)[number];
    clearTimeout(waiter.timer);
    waiter.resolve(slot);
  }

  function release(slot: Slot): void {
    slot.busy = false;
    slot.fail = undefined;
    if (!slots.has(slot)) return;
    slot.proven = true;
    if (performance.now() - slot.openedAt > LIFETIME_MS) retire(slot);
    serveNext();
  }

  function retire(slot: Slot): void {
    slots.delete(slot);
    slot.link?.end(TERMINATE);
  }

  const runOnSlot: Handler = (query) => {
    // These are done before, or never, by their promise: the connection would be given away too early, or lost.
    if (query.cursorRows !== undefined || query.streaming) {
      return query.reject(new Error('kit/db has cursors and copies only inside of a transaction'));
    }
    acquire().then(
      (slot) => {
        // A server that lets nobody in says so before it hangs up: then the next query comes to a connection that never opens.
        slot.fail = (reason) => query.reject(reason);
        const done = () => release(slot);
        // Sent before the next job's, so not waited for. A transaction needs none: its rollback is such an answer.
        const failed = () => {
          slot.sql.unsafe(NO_ROWS).catch(() => {});
          release(slot);
        };
        Promise.prototype.then.call(query, done, failed);
        slot.run(query);
      },
      (err) => query.reject(err),
    );
  };

  async function begin(...args: unknown[]): Promise<unknown> {
    const slot = await acquire();
    let result: unknown;
    try {
      result = await new Promise((resolve, reject) => {
        // Lost in the middle of a statement with parameters, it is the rollback that waits.
        slot.fail = reject;
        const work = args.pop() as TransactionWork;
        runTransaction(slot, String(args[0] ?? ''), work).then(resolve, reject);
      });
    } finally {
      release(slot);
    }
    committed();
    return result;
  }

  function committed(): void {
    for (const listener of commitListeners) listener();
  }

  function redirected<T>(made: T): T {
    if (made instanceof Promise && 'handler' in made) (made as unknown as Query).handler = runOnSlot;
    return made;
  }

  async function close(): Promise<void> {
    closed = true;
    const until = performance.now() + CLOSE_GRACE_MS;
    while ([...slots].some((slot) => slot.busy) && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (const slot of slots) retire(slot);
  }

  const sql = new Proxy(front, {
    apply: (target, _this, args: Parameters<postgres.Sql>) => redirected(target(...args)),
    get(target, name) {
      if (name === 'begin') return begin;
      if (name === 'end' || name === 'close') return close;
      if (name === 'unsafe')
        return (...args: Parameters<postgres.Sql['unsafe']>) =>
          redirected(target.unsafe(...withPreparation(args)));
      if (NOT_OFFERED.has(name)) throw new Error(`${String(name)} is not offered by kit/db`);
      return Reflect.get(target, name);
    },
  });
  return {
    sql: sql as unknown as postgres.Sql,
    onCommit: (listener) => void commitListeners.push(listener),
    committed,
    close,
  };
}

const NOT_OFFERED = new Set<string | symbol>([
  'listen',
  'notify',
  'subscribe',
  'reserve',
  'file',
  'largeObject',
]);
