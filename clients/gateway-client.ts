import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';
import { z } from 'zod';

/** A request to the shop's public API. */
export interface Ask {
  method: 'GET' | 'POST' | 'PUT';
  /** Path and query, as in `/v1/orders?limit=50`. */
  path: string;
  body?: unknown;
  /** Sent as Idempotency-Key, the same one at every attempt. */
  key?: string;
}

export interface Answer {
  status: number;
  headers: Headers;
  /** The parsed JSON, or the text of what is none. */
  body: unknown;
  /** How often the request was sent until this answer came. */
  attempts: number;
}

export interface Gateway {
  readonly url: string;
  /**
   * Sends a request until it has an answer that is final: one without Retry-After that is neither 429 nor 503.
   * Every request of this API may be repeated: it reads, sets, or carries an Idempotency-Key. When patience runs
   * out, the last answer is returned as it is, or GatewayUnreachableError thrown.
   */
  send(ask: Ask): Promise<Answer>;
}

export interface GatewayOptions {
  url: string;
  signal: AbortSignal;
  /** How long a request is repeated before giving up, in milliseconds. */
  patienceMs?: number;
}

export class GatewayUnreachableError extends Error {
  override name = 'GatewayUnreachableError';
}

/** The shop gave another answer than the one hoped for; `code` is that of its problem document, where there is one. */
export class RefusedError extends Error {
  override name = 'RefusedError';
  readonly status: number;
  readonly code: string;
  constructor(ask: Ask, answer: Answer) {
    super(describeRefusal(ask, answer));
    this.status = answer.status;
    this.code = problemOf(answer)?.code ?? `http_${answer.status}`;
  }
}

const ATTEMPT_TIMEOUT_MS = 20_000;
const LONGEST_PAUSE_MS = 5_000;

export function createGateway(options: GatewayOptions): Gateway {
  const { signal, patienceMs = 60_000 } = options;
  return {
    url: options.url,
    send(ask) {
      return pRetry((attempt) => attemptOnce(options.url, ask, attempt, signal), {
        retries: Number.POSITIVE_INFINITY,
        maxRetryTime: patienceMs,
        minTimeout: 100,
        maxTimeout: LONGEST_PAUSE_MS,
        randomize: true,
        signal,
        onFailedAttempt: ({ error }) => askedPause(error, signal),
      }).catch((error: unknown) => {
        if (error instanceof NotYetError) return error.answer;
        throw error;
      });
    },
  };
}

/** The answer's body as `schema` reads it. Throws RefusedError for a status that is not among `statuses`. */
export function read<S extends z.ZodType>(
  ask: Ask,
  answer: Answer,
  schema: S,
  ...statuses: number[]
): z.output<S> {
  if (!statuses.includes(answer.status)) throw new RefusedError(ask, answer);
  const parsed = schema.safeParse(answer.body);
  if (parsed.success) return parsed.data;
  throw new Error(
    `${ask.method} ${ask.path} answered something else than expected: ${z.prettifyError(parsed.error)}`,
    { cause: parsed.error },
  );
}

const Problem = z.object({
  code: z.string(),
  title: z.string(),
  detail: z.string().optional(),
  errors: z
    .array(z.looseObject({ pointer: z.string(), code: z.string(), detail: z.string().optional() }))
    .optional(),
});
export type Problem = z.infer<typeof Problem>;

/** The problem document (RFC 9457) that an answer carries, if it carries one. */
export function problemOf(answer: Answer): Problem | undefined {
  return Problem.safeParse(answer.body).data;
}

/** An answer that asks to come again. */
class NotYetError extends Error {
  readonly answer: Answer;
  constructor(answer: Answer) {
    super(`answered ${answer.status}`);
    this.answer = answer;
  }
}

async function attemptOnce(url: string, ask: Ask, attempts: number, signal: AbortSignal): Promise<Answer> {
  const response = await fetchText(url, ask, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new GatewayUnreachableError(`The shop at ${url} does not answer ${ask.method} ${ask.path}`, {
      cause,
    });
  });
  const answer: Answer = { ...response, body: jsonOrText(response.text), attempts };
  const comeAgain = answer.status === 429 || answer.status === 503 || answer.headers.has('retry-after');
  if (comeAgain) throw new NotYetError(answer);
  return answer;
}

async function fetchText(url: string, ask: Ask, signal: AbortSignal) {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (ask.body !== undefined) headers['content-type'] = 'application/json';
  if (ask.key !== undefined) headers['idempotency-key'] = ask.key;
  const response = await fetch(url + ask.path, {
    method: ask.method,
    headers,
    body: ask.body === undefined ? null : JSON.stringify(ask.body),
    signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)]),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Waits as long as the shop asked for; p-retry's own, much shorter pause comes on top. */
async function askedPause(error: Error, signal: AbortSignal): Promise<void> {
  if (!(error instanceof NotYetError)) return;
  const seconds = Number(error.answer.headers.get('retry-after') ?? 0);
  if (seconds > 0) await sleep(Math.min(seconds * 1000, LONGEST_PAUSE_MS), undefined, { signal });
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function describeRefusal(ask: Ask, answer: Answer): string {
  const problem = problemOf(answer);
  const what = `${ask.method} ${ask.path} answered ${answer.status}`;
  if (!problem) return what;
  const where = (problem.errors ?? []).map((e) => ` ${e.pointer}: ${e.detail ?? e.code}.`).join('');
  return `${what} ${problem.code}: ${problem.detail ?? problem.title}.${where}`;
}
