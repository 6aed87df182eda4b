import { inspect } from 'node:util';
import { isIntegrityViolation, isTransientDbError } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import type { DeadLetterReason } from './schema.ts';

/**
 * A handler throws it when the message breaks an invariant: it can never be handled, so it becomes a dead letter.
 * A refusal that the business knows is none of these: the handler publishes its own fact and returns.
 */
export class PermanentError extends Error {
  override name = 'PermanentError';
}

/** A message that cannot be read; thrown before the handler runs. */
export class UnreadableError extends Error {
  override name = 'UnreadableError';
  readonly reason: Exclude<DeadLetterReason, 'invariant' | 'poison' | 'lost'>;
  constructor(reason: UnreadableError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The handler took longer than the sidecar may be kept waiting. */
export class HandlerTimeoutError extends Error {
  override name = 'HandlerTimeoutError';
}

/** The process died in every one of so many handlings; where nothing was counted yet, in one or more before those. */
export class PoisonError extends Error {
  override name = 'PoisonError';
  constructor(deaths: number) {
    super(
      `The process died at least ${deaths} times while it handled this message; deaths before they were counted are not among these`,
    );
  }
}

/** What is to become of a message whose handling failed. */
export type Failure =
  | { kind: 'permanent'; reason: DeadLetterReason; detail: string }
  /** `expected`: an outage or a conflict that passes, not a bug. */
  | { kind: 'transient'; expected: boolean };

/**
 * Only what is known to fail for ever is permanent. Everything else is delivered again, without limit: time alone
 * never makes a dead letter, and a bug can be mended while its messages wait. A rule that says no to a message says so
 * for ever: sender and receiver no longer agree, and somebody has to look.
 */
export function classifyFailure(err: unknown): Failure {
  if (err instanceof UnreadableError) return { kind: 'permanent', reason: err.reason, detail: err.message };
  if (err instanceof PoisonError) return { kind: 'permanent', reason: 'poison', detail: err.message };
  if (err instanceof PermanentError) return { kind: 'permanent', reason: 'invariant', detail: err.message };
  if (err instanceof DomainError)
    return { kind: 'permanent', reason: 'invariant', detail: describeRule(err) };
  if (err instanceof HandlerTimeoutError || isTransientDbError(err))
    return { kind: 'transient', expected: true };
  if (isIntegrityViolation(err)) {
    return { kind: 'permanent', reason: 'invariant', detail: rootMessage(err) };
  }
  return { kind: 'transient', expected: false };
}

/** By `inspect`, because JSON has no word for some values (a bigint) and this is no place to throw. */
function describeRule({ code, data }: DomainError): string {
  return `${code} ${inspect(data, { breakLength: Number.POSITIVE_INFINITY })}`;
}

/** The message of the innermost cause: drizzle's own repeats the statement with its parameters, which are customers' data. */
export function rootMessage(err: unknown): string {
  let current = err;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  return current instanceof Error ? current.message : String(current);
}

/** PostgreSQL stores no NUL in a text, and a message of an error may quote one. */
export function withoutNul(text: string): string {
  return text.replaceAll('\0', '\u{fffd}');
}
