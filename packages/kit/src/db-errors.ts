/** SQLSTATEs after which the same statement may well succeed: see appendix A of PostgreSQL's manual. */
const TRANSIENT_STATES = new Set([
  '25006', // read-only: the primary has moved
  '40001',
  '40P01',
  '55P03',
  '57014',
  '57P01',
  '57P02',
  '57P03',
  '57P04',
  '25P03',
  '25P04',
  '57P05',
]);
/** Connection faults: of postgres.js, of kit's pool, and of the sockets below. */
const TRANSIENT_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'CONNECTION_TIMEOUT',
  'POOL_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
]);

/**
 * True when the database was away, overloaded or gave up on a lock or a deadline, so that trying again later makes
 * sense: connection faults, class 08 and 53, 57P0x, serialization failure, deadlock, lock and statement timeout.
 * Follows `cause`, as drizzle wraps what postgres.js throws.
 */
export function isTransientDbError(err: unknown): boolean {
  return codesOf(err).some(
    (code) => TRANSIENT_CODES.has(code) || TRANSIENT_STATES.has(code) || /^(08|53)[0-9A-Z]{3}$/.test(code),
  );
}

/** True for a broken constraint (class 23: unique, foreign key, check, not null). Follows `cause`. */
export function isIntegrityViolation(err: unknown): boolean {
  return codesOf(err).some((code) => /^23[0-9A-Z]{3}$/.test(code));
}

/** SQLSTATEs and codes of connection faults, outermost first. Follows `cause`. */
export function codesOf(err: unknown): string[] {
  const codes: string[] = [];
  let at: unknown = err;
  for (let depth = 0; depth < 10 && typeof at === 'object' && at !== null; depth++) {
    const { code, cause } = at as { code?: unknown; cause?: unknown };
    if (typeof code === 'string') codes.push(code);
    at = cause;
  }
  return codes;
}

/** An error of a connection, of the form that {@link isTransientDbError} looks at. */
export function connectionError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
