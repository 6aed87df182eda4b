import type { Database, Transaction } from '@sidecart/kit/db';

/** A transaction that has done `work` and stays open until it is told to end, after something more. */
export async function openTransaction({ db }: Database, work: (tx: Transaction) => Promise<unknown>) {
  const begun = Promise.withResolvers<void>();
  const go = Promise.withResolvers<(tx: Transaction) => Promise<unknown>>();
  const ended = db.transaction(async (tx) => {
    await work(tx);
    begun.resolve();
    await (await go.promise)(tx);
  });
  ended.catch(begun.reject);
  await begun.promise;
  return async (last: (tx: Transaction) => Promise<unknown> = async () => {}) => {
    go.resolve(last);
    await ended;
  };
}
