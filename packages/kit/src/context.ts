import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from './random-bytes.ts';

/** Who and what the current work belongs to; follows every `await` of a request or of a message's handling. */
export interface RequestContext {
  /** W3C trace context of this unit of work, e.g. `00-<32 hex>-<16 hex>-01`. */
  traceparent: string;
  /** Id of the client's request; kept over every hop. */
  requestId: string;
  /** Who asked: `anonymous`, a user, or a service. */
  actor: string;
  customerId?: string;
  /** What the whole conversation is about; absent until the first message of it is sent. */
  correlationId?: string;
  /** Id of the message being handled; absent in a plain request. */
  causationId?: string;
}

const storage = new AsyncLocalStorage<RequestContext>();

/** The context of the running request or message, or `undefined` outside of both (start-up, timers). */
export function currentContext(): RequestContext | undefined {
  return storage.getStore();
}

/**
 * Runs `fn` so that it, and everything it awaits, sees `context`.
 *
 * @example
 * await runInContext({ traceparent: newTraceparent(), requestId: uuidv7(), actor: 'housekeeping' }, purge);
 */
export function runInContext<T>(context: RequestContext, fn: () => T): T {
  return storage.run(context, fn);
}

/** A new trace, marked as sampled. */
export function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`;
}

/** The same trace with a new span id; `parent` must be well formed (see {@link parseTraceparent}). */
export function childTraceparent(parent: string): string {
  return `${parent.slice(0, 36)}${randomHex(8)}${parent.slice(52)}`;
}

const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The header's value when it is a usable version 00 `traceparent`, else `undefined`: a bad header starts a new trace. */
export function parseTraceparent(header: string | undefined): string | undefined {
  return header !== undefined && TRACEPARENT.test(header) ? header : undefined;
}

/** The 32 hex digits by which logs and traces are found. */
export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

function randomHex(bytes: number): string {
  for (;;) {
    const hex = randomBytes(bytes).toString('hex');
    if (!/^0+$/.test(hex)) return hex; // all zeros means "no id" in W3C trace context
  }
}
