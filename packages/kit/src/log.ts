import pino, { type DestinationStream, type Logger as PinoLogger } from 'pino';
import { currentContext, traceIdOf } from './context.ts';

export type Logger = PinoLogger;

const SECRET_WORD = /password|token|secret|authorization|cookie|database_url|:\/\//i;
/** A key that ends in a secret word, with its text or list of texts. */
const SECRET_MEMBER =
  /"([\w-]{0,40}(?:password|token|secret|authorization|cookie|database_url))":(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\])/gi;
/** Bounded, as a client's text may be in the line: without bounds 100 kB of `a://` take seconds. */
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]{0,20}:\/\/[^\s:/?#"@]{0,64}):[^\s"]{0,256}@/gi;
const CENSORED = '[redacted]';

/**
 * A logger that writes one JSON object a line, with ISO time and the trace and request id of the current context.
 * Tokens, passwords, cookies and the password part of URLs never reach the line.
 */
export function createLogger(o: { service: string; level: string; destination?: DestinationStream }): Logger {
  const options = {
    level: o.level,
    base: { service: o.service },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    messageKey: 'message',
    mixin: contextFields,
    serializers: { err: serializeError, error: serializeError },
    hooks: { streamWrite: hideSecrets },
  };
  // Written at once: the lines before an exit are the ones that matter, and left to itself pino can lose their order.
  return pino(options, o.destination ?? pino.destination({ dest: 1, sync: true }));
}

/**
 * Takes the values of secret keys, at any depth, and the passwords in URLs out of a line of JSON. On the text, as pino's
 * own redaction by paths costs ten times as much a line and knows only the depths it is told.
 */
function hideSecrets(line: string): string {
  if (!SECRET_WORD.test(line)) return line;
  return line.replace(SECRET_MEMBER, `"$1":"${CENSORED}"`).replace(URL_PASSWORD, `$1:${CENSORED}@`);
}

/**
 * What the log keeps of an error and of its causes. The parameters of a failed query are customers' data: the message
 * of drizzle's error holds them, so only its SQL is kept.
 */
export function serializeError(err: unknown): Record<string, unknown> {
  return serializeLevel(err, 0);
}

function serializeLevel(err: unknown, depth: number): Record<string, unknown> {
  if (!(err instanceof Error)) return { message: String(err) };
  const { name, code, kind, status } = err as Error & Record<string, unknown>;
  const withoutParameters = 'params' in err && 'query' in err;
  const message = withoutParameters ? `Failed query: ${String(err.query)}` : err.message;
  const out: Record<string, unknown> = { type: name, message };
  for (const [key, value] of Object.entries({ code, kind, status }))
    if (value !== undefined) out[key] = value;
  const frames = err.stack?.slice(err.stack.indexOf('\n    at '));
  if (frames) out.stack = `${String(name)}: ${message}${frames}`;
  if (err.cause !== undefined && depth < 5) out.cause = serializeLevel(err.cause, depth + 1);
  return out;
}

function contextFields(): Record<string, string> {
  const context = currentContext();
  return context ? { trace_id: traceIdOf(context.traceparent), request_id: context.requestId } : {};
}
