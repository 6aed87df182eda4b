import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { z } from 'zod';
import { currentContext, traceIdOf } from './context.ts';
import { DaprError } from './dapr-error.ts';
import { isTransientDbError } from './db-errors.ts';
import { DomainError, type DomainErrorKind, type FieldError } from './domain-error.ts';
import { genericProblems, type ProblemDefinition } from './problem-definitions.ts';

export type { FieldError } from './domain-error.ts';
// biome-ignore lint/performance/noBarrelFile: the table is long and is read by tools that want nothing of Hono
export { genericProblems } from './problem-definitions.ts';

// The only place that knows HTTP statuses of faults (RFC 9457).

const registry = new Map<string, ProblemDefinition>(Object.entries(genericProblems));

/**
 * Registers a service's own codes and returns them.
 *
 * @example
 * export const problems = defineProblems({
 *   price_changed: { status: 409, title: 'A price has changed', cure: 'Use the prices in errors.' },
 * });
 * @throws Error when a code is no snake_case word or is taken by another definition.
 */
export function defineProblems<D extends Record<string, ProblemDefinition>>(definitions: D): D {
  for (const [code, definition] of Object.entries(definitions)) {
    if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(code))
      throw new Error(`Problem code ${code} must be snake_case`);
    const taken = registry.get(code);
    if (taken && JSON.stringify(taken) !== JSON.stringify(definition)) {
      throw new Error(`Problem code ${code} is already defined, and differently`);
    }
    registry.set(code, definition);
  }
  return definitions;
}

export interface ProblemOptions {
  /** Said to the client: no secrets, no internals. */
  detail?: string;
  errors?: FieldError[];
  retryAfterSeconds?: number;
  /** Further response headers, e.g. Allow. */
  headers?: Record<string, string>;
  cause?: unknown;
}

/**
 * An answer that is a problem, thrown from wherever it is found.
 *
 * @example throw new ProblemError('products_unavailable', { retryAfterSeconds: 1, cause });
 */
export class ProblemError extends Error {
  readonly code: string;
  readonly detail?: string;
  readonly errors?: FieldError[];
  readonly retryAfterSeconds?: number;
  readonly headers?: Record<string, string>;

  constructor(code: string, o: ProblemOptions = {}) {
    super(o.detail ?? code, o.cause === undefined ? undefined : { cause: o.cause });
    this.name = 'ProblemError';
    this.code = code;
    if (o.detail !== undefined) this.detail = o.detail;
    if (o.errors !== undefined) this.errors = o.errors;
    if (o.retryAfterSeconds !== undefined) this.retryAfterSeconds = o.retryAfterSeconds;
    if (o.headers !== undefined) this.headers = o.headers;
  }
}

/** A problem that is ready to be written. */
export interface ResolvedProblem {
  code: string;
  status: number;
  title: string;
  detail?: string;
  errors?: FieldError[];
  headers: Record<string, string>;
}

const MAX_ERRORS = 1000;
const RETRY_AFTER_SECONDS = 1;

/** Finds the problem that an error stands for, following its `cause` chain; what nobody knows is `internal`. */
export function toProblem(err: unknown): ResolvedProblem {
  let at = err;
  for (let depth = 0; depth < 10 && at !== undefined && at !== null; depth++) {
    const problem = problemOf(at);
    if (problem) return resolve(problem);
    at = (at as { cause?: unknown }).cause;
  }
  return resolve(new ProblemError('internal'));
}

/** The answer for an error, as `application/problem+json`. Logs nothing: kit/app does that, once. */
export function problemResponse(c: Context, err: unknown): Response {
  const problem = toProblem(err);
  const context = currentContext();
  const body = problemBody(problem, {
    instance: c.req.path,
    ...(context && { trace_id: traceIdOf(context.traceparent), request_id: context.requestId }),
  });
  return c.body(JSON.stringify(body), problem.status as 500, {
    'Content-Type': 'application/problem+json',
    ...problem.headers,
  });
}

/** The document of RFC 9457 with our extension members; also for answers that are written outside of Hono. */
export function problemBody(
  problem: ResolvedProblem,
  request: { instance?: string; trace_id?: string; request_id?: string },
): Record<string, unknown> {
  const { code, status, title, detail, errors } = problem;
  return {
    type: `/problems/${code}`,
    title,
    status,
    code,
    ...(detail !== undefined && { detail }),
    ...request,
    ...(errors !== undefined && { errors }),
  };
}

/** Which part of a request zod looked at. */
export type RequestPart = 'json' | 'query' | 'param' | 'header' | 'cookie' | 'form';

/** Every fault that zod found, each with its place. `input` tells a missing value from one of the wrong type. */
export function fieldErrors(error: z.ZodError, part: RequestPart = 'json', input?: unknown): FieldError[] {
  return error.issues.flatMap((issue) => faultsOf(issue, [], part, input));
}

function problemOf(err: unknown): ProblemError | undefined {
  if (err instanceof ProblemError) return registry.has(err.code) ? err : undefined;
  if (err instanceof DomainError) {
    return new ProblemError(
      registry.has(err.code) ? err.code : CODE_OF_KIND[err.kind],
      withErrors(err.errors),
    );
  }
  if (err instanceof DaprError) {
    const code = err.kind === 'timeout' ? 'upstream_timeout' : 'upstream_unavailable';
    return new ProblemError(code, { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
  if (err instanceof HTTPException) return problemOfStatus(err.status);
  if (isTransientDbError(err)) {
    return new ProblemError('upstream_unavailable', { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
  return undefined;
}

const CODE_OF_KIND: Record<DomainErrorKind, string> = {
  'not-found': 'not_found',
  conflict: 'conflict',
  refused: 'validation_failed',
  invalid: 'validation_failed',
};

/** Hono's own exceptions: its validators throw 400 for broken JSON and 415 for a wrong content type. */
function problemOfStatus(status: number): ProblemError | undefined {
  const code = {
    400: 'malformed_json',
    401: 'app_token_required',
    404: 'route_not_found',
    413: 'payload_too_large',
    415: 'unsupported_media_type',
  }[status];
  return code === undefined ? undefined : new ProblemError(code);
}

function withErrors(errors: FieldError[] | undefined): ProblemOptions {
  return errors === undefined ? {} : { errors };
}

function resolve(err: ProblemError): ResolvedProblem {
  const definition = registry.get(err.code) ?? genericProblems.internal;
  const resolved: ResolvedProblem = {
    code: err.code,
    status: definition.status,
    title: definition.title,
    headers: { ...err.headers },
  };
  if (err.retryAfterSeconds !== undefined)
    resolved.headers['Retry-After'] = String(Math.max(1, Math.ceil(err.retryAfterSeconds)));
  if (err.detail !== undefined && definition.status < 500) resolved.detail = err.detail;
  if (err.errors !== undefined) {
    resolved.errors = err.errors.slice(0, MAX_ERRORS);
    if (err.errors.length > MAX_ERRORS)
      resolved.detail = `${MAX_ERRORS} of ${err.errors.length} faults are listed.`;
  }
  return resolved;
}

function faultsOf(
  issue: z.core.$ZodIssue,
  base: PropertyKey[],
  part: RequestPart,
  input: unknown,
): FieldError[] {
  const path = [...base, ...issue.path];
  const fault = (code: string, at = path, extra: Record<string, unknown> = {}): FieldError => ({
    pointer: pointerOf(at, part),
    code,
    detail: issue.message,
    ...extra,
  });
  switch (issue.code) {
    case 'invalid_type':
      return [
        isMissing(issue, path, input) ? { ...fault('required'), detail: 'Is missing.' } : fault('wrong_type'),
      ];
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        ...fault('unknown_field', [...path, key]),
        detail: 'Is not a field of this request.',
      }));
    case 'invalid_union': {
      const [closest] = [...issue.errors].sort((a, b) => a.length - b.length);
      return closest?.length
        ? closest.flatMap((inner) => faultsOf(inner, path, part, input))
        : [fault('invalid')];
    }
    case 'custom': {
      const { code, ...extra } = issue.params ?? {};
      return [fault(typeof code === 'string' ? code : 'invalid', path, extra)];
    }
    case 'invalid_value':
      return [fault('not_allowed')];
    case 'too_big':
    case 'too_small':
    case 'invalid_format':
    case 'not_multiple_of':
      return [fault(issue.code)];
    default:
      return [fault('invalid')];
  }
}

function isMissing(issue: z.core.$ZodIssue, path: PropertyKey[], input: unknown): boolean {
  if (input === undefined) return issue.message.endsWith('received undefined');
  let at: unknown = input;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return true;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at === undefined;
}

const PREFIX: Record<RequestPart, string> = {
  json: '',
  form: '',
  query: 'query:',
  param: 'path:',
  header: 'header:',
  cookie: 'cookie:',
};

function pointerOf(path: PropertyKey[], part: RequestPart): string {
  if (PREFIX[part] !== '') return PREFIX[part] + path.map(String).join('.');
  return path
    .map((key) => `/${String(key).slice(0, 200).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}
