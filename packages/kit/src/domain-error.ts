/** A place in a request that is at fault. `pointer` is a JSON pointer into the body (`/lines/0/quantity`) or names
 * the part: `header:Idempotency-Key`, `query:limit`, `path:sku`. Further members give the values that would do. */
export interface FieldError {
  pointer: string;
  code: string;
  detail: string;
  [member: string]: unknown;
}

export type DomainErrorKind = 'not-found' | 'conflict' | 'refused' | 'invalid';

/**
 * A rule of the business said no. Knows nothing of HTTP: kit/problem maps `code` (or, for an unregistered one, `kind`)
 * to a status. `data` is for the log and for callers; only `errors` reaches the client.
 *
 * @example throw new DomainError('conflict', 'order_not_cancellable', { status: 'rejected' });
 */
export class DomainError extends Error {
  readonly kind: DomainErrorKind;
  readonly code: string;
  readonly data: Record<string, unknown>;
  readonly errors?: FieldError[];

  constructor(
    kind: DomainErrorKind,
    code: string,
    data: Record<string, unknown> = {},
    errors?: FieldError[],
  ) {
    super(code);
    this.name = 'DomainError';
    this.kind = kind;
    this.code = code;
    this.data = data;
    if (errors !== undefined) this.errors = errors;
  }
}

/**
 * Throws DomainError with all of these faults, under the code that they have; without one it does nothing.
 *
 * @example refuse('invalid', duplicateLines(lines));
 */
export function refuse(kind: DomainErrorKind, faults: FieldError[]): void {
  const [first] = faults;
  if (first) throw new DomainError(kind, first.code, {}, faults);
}
