import { ProblemError } from '@sidecart/kit/problem';
import type { MiddlewareHandler } from 'hono';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { z } from 'zod';
import { type PaymentDeps, settleOperation } from './commands.ts';
import { ProviderOperation, toOutcome } from './provider.ts';
import { findOperation } from './store.ts';

/** What the provider tells of its own accord. */
export const ProviderEvent = z
  .object({ type: z.string(), timestamp: z.string(), data: ProviderOperation })
  .meta({
    id: 'ProviderEvent',
    description: 'The outcome of an operation, as the payment provider tells it.',
  });
export type ProviderEvent = z.infer<typeof ProviderEvent>;

const HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const;

/**
 * Lets only what the provider signed pass, within five minutes of its time (Standard Webhooks spec). Goes by the body as it came, before
 * anything else looks at it.
 */
export function verifyWebhook(secret: () => string): MiddlewareHandler {
  return async function verify(c, next) {
    const body = await c.req.text();
    const headers = Object.fromEntries(HEADERS.map((name) => [name, c.req.header(name) ?? '']));
    try {
      new Webhook(secret()).verify(body, headers);
    } catch (cause) {
      // JSON that cannot be read comes after the signature, and was refused before it.
      if (!(cause instanceof WebhookVerificationError)) throw cause;
      throw new ProblemError('webhook_signature_invalid', { cause });
    }
    await next();
  };
}

/**
 * What a webhook changes: an operation that still waits for its answer is settled; every other, and one that payments never asked for,
 * stays as it is.
 */
export async function takeEvent(
  deps: PaymentDeps,
  { data }: ProviderEvent,
): Promise<'settled' | 'known' | 'unknown'> {
  const operation = await findOperation(deps.database.db, data.key);
  if (!operation || operation.kind !== data.kind) return 'unknown';
  if (operation.state !== 'pending') return 'known';
  if (data.state === 'succeeded' && data.amount !== operation.amount)
    throw new ProblemError('webhook_contradicts');
  return (await settleOperation(deps, operation, toOutcome(data))) ? 'settled' : 'known';
}
