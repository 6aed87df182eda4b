import type { HistoryEntry, Order } from '@sidecart/contracts/orders';
import type { ArchiveStore } from '@sidecart/event-sourcing/archive';
import { ArchiveUnavailableError, CondenseRefusedError } from '@sidecart/event-sourcing/errors';
import { readHistory, stateAt } from '@sidecart/event-sourcing/history';
import type { Database } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { ProblemError } from '@sidecart/kit/problem';
import { order as aggregate } from './aggregate.ts';
import type { OrderEvent } from './order-events.ts';
import type { OrderState } from './order-state.ts';
import { toHistoryEntry, toOrder } from './view.ts';

/** What reading an order's past takes. */
export interface HistoryDeps {
  database: Database;
  archive: ArchiveStore;
}

/** All that happened to an order, oldest first. Throws DomainError `not_found`. */
export async function getHistory(deps: HistoryDeps, orderId: string): Promise<HistoryEntry[]> {
  const events = await readHistory<OrderEvent>({ ...deps, aggregate }, orderId).catch(asProblem);
  if (events.length === 0) throw notFound(orderId);
  return events.map(toHistoryEntry);
}

/** The order as it was. Throws DomainError `not_found`, also when there was none yet. */
export async function getOrderAt(deps: HistoryDeps, orderId: string, at: Date): Promise<Order> {
  const then = await stateAt<OrderState>({ ...deps, aggregate }, orderId, at).catch(asProblem);
  if (!then) throw notFound(orderId);
  return toOrder(then.state);
}

/** What was condensed may be away, or damaged. */
function asProblem(cause: unknown): never {
  if (cause instanceof ArchiveUnavailableError)
    throw new ProblemError(cause.code, { retryAfterSeconds: 60, cause });
  if (cause instanceof CondenseRefusedError) throw new ProblemError(cause.code, { cause });
  throw cause;
}

function notFound(orderId: string): DomainError {
  return new DomainError('not-found', 'not_found', { orderId });
}
