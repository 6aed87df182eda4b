import type { Dapr, InvokeAnswer } from '@sidecart/kit/dapr';
import { z } from 'zod';
import type { Outcome } from './payment.ts';
import type { ClaimedOperation } from './store.ts';

/** What the provider says of an operation, in an answer or in a webhook. Fields that are not used are not read. */
export const ProviderOperation = z.object({
  key: z.string(),
  kind: z.enum(['authorise', 'capture', 'void', 'refund']),
  authorisation_id: z.string().min(1).max(200),
  amount: z.int().min(0),
  state: z.enum(['succeeded', 'refused']),
  reason: z.string().max(200).optional(),
});
export type ProviderOperation = z.infer<typeof ProviderOperation>;

/**
 * Nobody knows whether it was done: no answer, or one that says nothing about the operation. Only asking again, under the same key, can
 * tell.
 */
export class UnknownOutcomeError extends Error {
  override name = 'UnknownOutcomeError';
}

/** Asks the provider for one operation. Rejects with an UnknownOutcomeError, or a DaprError of the way there. */
export type AskProvider = (operation: ClaimedOperation) => Promise<Outcome>;

/**
 * The provider behind the HTTPEndpoint `name` of the sidecar, which adds its address, the timeout of an attempt and quick repeats; who
 * the shop is says the key, which no other sidecar gets to see.
 */
export function createAskProvider(o: {
  dapr: Pick<Dapr, 'invoke'>;
  name: string;
  apiKey: string;
  /** Above what the sidecar takes for all its attempts. */
  timeoutMs: number;
}): AskProvider {
  return async (operation) => {
    const answer = await o.dapr.invoke(o.name, {
      method: 'POST',
      ...requestOf(operation),
      headers: { authorization: `Bearer ${o.apiKey}`, 'idempotency-key': operation.key },
      timeoutMs: o.timeoutMs,
    });
    return outcomeOf(operation, readAnswer(answer), answer.status);
  };
}

/** The outcome in the words of the rules. */
export function toOutcome(said: ProviderOperation): Outcome {
  return said.state === 'succeeded'
    ? { state: 'succeeded', authorisationId: said.authorisation_id }
    : { state: 'refused', reason: said.reason ?? 'refused' };
}

function requestOf(operation: ClaimedOperation): { path: string; body: object } {
  const { kind, orderId, amount, refundId, token, authorisationId } = operation;
  if (kind === 'authorise')
    return { path: '/v1/authorisations', body: { reference: orderId, amount, currency: 'GBP', token } };
  if (authorisationId === null)
    throw new UnknownOutcomeError(`${operation.key} has no authorisation to be done to`);
  const path = `/v1/authorisations/${encodeURIComponent(authorisationId)}`;
  switch (kind) {
    case 'capture':
      return { path: `${path}/capture`, body: { amount } };
    case 'void':
      return { path: `${path}/void`, body: {} };
    case 'refund':
      return { path: `${path}/refunds`, body: { amount, reference: refundId } };
  }
}

function readAnswer(answer: InvokeAnswer): ProviderOperation | undefined {
  try {
    return ProviderOperation.parse(answer.json());
  } catch {
    return undefined;
  }
}

/** Only what names this operation counts, whatever the status: a proxy on the way has answers of its own. */
function outcomeOf(
  { key, kind, amount }: ClaimedOperation,
  said: ProviderOperation | undefined,
  status: number,
): Outcome {
  if (said?.key !== key || said.kind !== kind)
    throw new UnknownOutcomeError(`The provider answered ${status}, which says nothing about ${key}`);
  if (said.state === 'succeeded' && said.amount !== amount)
    throw new UnknownOutcomeError(
      `The provider did ${key} with ${said.amount} instead of ${amount}: compare its books with those of payments`,
    );
  return toOutcome(said);
}
