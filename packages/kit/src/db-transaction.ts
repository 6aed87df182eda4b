import type postgres from 'postgres';

/** What postgres.js calls to run a query; and the parts of its Query that are needed here. */
export type Handler = (query: Query) => void;
export interface Query extends Promise<unknown> {
  handler: Handler;
  reject(err: unknown): void;
  cursorRows?: number;
  streaming?: boolean;
}

export type TransactionWork = (tx: postgres.TransactionSql) => unknown;

/** One connection that nobody else uses for the time being: a postgres.js with `max: 1`. */
interface Connection {
  sql: postgres.Sql;
  run: Handler;
}

/**
 * Runs `work` in a transaction, in place of postgres.js's `begin`: BEGIN goes out together with the first statement
 * instead of being waited for, which saves every transaction a round trip. Statements that are not waited for one by
 * one (`Promise.all`) go out together as well, and are run in the order in which they were asked for. As with
 * postgres.js a statement that failed fails the transaction, even if nobody looked at its outcome.
 *
 * @throws what `work` throws, else what the first failed statement was answered.
 */
export async function runTransaction(
  connection: Connection,
  options: string,
  work: TransactionWork,
): Promise<unknown> {
  return runScope(connection, work, {
    begin: `begin ${options.replaceAll(/[^a-z ]/gi, '')}`,
    end: 'commit',
    undo: 'rollback',
    names: { next: 0 },
  });
}

interface Scope {
  begin: string;
  end: string;
  undo: string;
  /** Numbers the savepoints of one transaction. */
  names: { next: number };
}

async function runScope(connection: Connection, work: TransactionWork, scope: Scope): Promise<unknown> {
  const { sql } = connection;
  const failures: unknown[] = [];
  let over = false;
  const run: Handler = (query) => {
    Promise.prototype.catch.call(query, (err: unknown) => failures.push(err));
    connection.run(query);
  };
  // One of several branches (`Promise.all`) has failed and another goes on: what it still asks for must not run after
  // the rollback, on its own or in the connection's next transaction.
  const inTime =
    (go: Handler): Handler =>
    (query) =>
      over ? query.reject(new Error('The transaction of this statement is over')) : go(query);
  const send = (text: string) => {
    const query = sql.unsafe(text) as unknown as Query & { execute(): Query };
    query.handler = run;
    return query.execute();
  };

  send(scope.begin);
  let result: unknown;
  try {
    // A savepoint's statements fail by themselves, and are in time while this is.
    const inner = { sql, run: inTime(connection.run) };
    const made = await work(transactionSql(inner, inTime(run), scope.names));
    result = Array.isArray(made) ? await Promise.all(made) : made;
    if (failures.length > 0) throw failures[0];
  } catch (err) {
    over = true;
    await send(scope.undo);
    throw failures.length > 0 && isAftermath(err) ? failures[0] : err;
  }
  over = true;
  const { command } = (await send(scope.end)) as { command: string };
  // A statement that failed after the last look: the server has rolled back what it was asked to commit.
  if (command === 'ROLLBACK') throw failures[0] ?? new Error('The transaction was rolled back');
  return result;
}

/** What `work` is handed: its statements go to the transaction's own connection. */
function transactionSql(
  connection: Connection,
  run: Handler,
  names: Scope['names'],
): postgres.TransactionSql {
  const redirected = <T>(made: T): T => {
    if (made instanceof Promise && 'handler' in made) (made as unknown as Query).handler = run;
    return made;
  };
  const savepoint = (...args: unknown[]) => {
    const work = args.pop() as TransactionWork;
    const name = `s${names.next++}`;
    return runScope(connection, work, {
      begin: `savepoint ${name}`,
      end: `release savepoint ${name}`,
      undo: `rollback to savepoint ${name}`,
      names,
    });
  };
  return new Proxy(connection.sql, {
    apply: (target, _this, args: Parameters<postgres.Sql>) => redirected(target(...args)),
    get(target, name) {
      if (name === 'savepoint') return savepoint;
      if (name === 'unsafe')
        return (...args: UnsafeArguments) => redirected(target.unsafe(...withPreparation(args)));
      return Reflect.get(target, name);
    },
  }) as unknown as postgres.TransactionSql;
}

export type UnsafeArguments = Parameters<postgres.Sql['unsafe']>;

/**
 * drizzle sends all its statements as `unsafe`, which postgres.js parses anew each time, at the price of a second round
 * trip. One with parameters is worth keeping for the connection's life.
 */
export function withPreparation([query, parameters = [], options]: UnsafeArguments): UnsafeArguments {
  return [query, parameters, { ...options, prepare: parameters.length > 0 }];
}

/** "Current transaction is aborted": not why, but what came after. */
function isAftermath(err: unknown): boolean {
  for (let e = err as { code?: unknown; cause?: unknown } | undefined; e; e = e.cause as typeof e)
    if (e.code === '25P02') return true;
  return false;
}
