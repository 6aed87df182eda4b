import { type Dapr, DaprError, type InvokeAnswer } from '@sidecart/kit/dapr';
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
  /** The provider's answer, if there was one: its status and the code in it, with what to do about it. Or why it was not asked. */
  readonly answer: string | undefined;

  constructor(message: string, answer?: string) {
    super(message);
    this.answer = answer;
  }
}

/** Why asking was in vain, as far as everybody may know who asks for the service's health: nothing of a request, no text of an answer. */
export function inShort(err: unknown): string {
  if (err instanceof UnknownOutcomeError) return err.answer ?? 'an answer that contradicts what was asked';
  if (err instanceof DaprError) return `no answer (${[err.kind, err.status].filter(Boolean).join(' ')})`;
  return 'an error of payments, which its log has';
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
    return outcomeOf(operation, readAnswer(answer), answer);
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
    throw new UnknownOutcomeError(
      `${operation.key} has no authorisation to be done to`,
      'no question at all, as payments knows no authorisation for it',
    );
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
  return ProviderOperation.safeParse(jsonOf(answer)).data;
}

function jsonOf(answer: InvokeAnswer): unknown {
  try {
    return answer.json();
  } catch {
    return undefined;
  }
}

/** Only what names this operation counts, whatever the status: a proxy on the way has answers of its own. */
function outcomeOf(
  { key, kind, amount }: ClaimedOperation,
  said: ProviderOperation | undefined,
  answer: InvokeAnswer,
): Outcome {
  if (said?.key !== key || said.kind !== kind) {
    const what = statusAndCode(answer);
    throw new UnknownOutcomeError(`The provider answered ${what}, which says nothing about ${key}`, what);
  }
  if (said.state === 'succeeded' && said.amount !== amount)
    throw new UnknownOutcomeError(
      `The provider did ${key} with ${said.amount} instead of ${amount}: compare its books with those of payments`,
    );
  return toOutcome(said);
}

const Refusal = z.object({ code: z.string().optional(), error: z.string().optional() });
/** A code is a word: a whole text might repeat what was sent. */
const CODE = /^[a-z][\w.-]{0,59}$/i;

function statusAndCode(answer: InvokeAnswer): string {
  const refusal = Refusal.safeParse(jsonOf(answer)).data;
  const code = [refusal?.code, refusal?.error].find((one) => one !== undefined && CODE.test(one));
  const what = code === undefined ? `${answer.status}` : `${answer.status} ${code}`;
  if (answer.status !== 401 && answer.status !== 403) return what;
  return `${what} (it does not know the api_key that payments has; restart whichever has not read the Secret since it changed)`;
}
