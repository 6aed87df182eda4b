import pino, { type DestinationStream, type Logger as PinoLogger } from 'pino';
import { currentContext, traceIdOf } from './context.ts';

export type Logger = PinoLogger;

const SECRET_KEYS = [
  'password',
  'token',
  'secret',
  'authorization',
  'cookie',
  'set-cookie',
  'dapr-api-token',
  'apiToken',
  'appToken',
  'DAPR_API_TOKEN',
  'APP_API_TOKEN',
  'DATABASE_URL',
];
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
    redact: { paths: SECRET_KEYS.flatMap(pathsOf), censor: CENSORED },
    serializers: { err: serializeError, error: serializeError },
    hooks: { streamWrite: hideUrlPasswords },
  };
  // Written at once: the lines before an exit are the ones that matter, and left to itself pino can lose their order.
  return pino(options, o.destination ?? pino.destination({ dest: 1, sync: true }));
}

/** Replaces the password in anything of the form `scheme://user:password@host`. */
export function hideUrlPasswords(text: string): string {
  return text.includes('://')
    ? text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/?#"@]*):[^\s"]*@/gi, `$1:${CENSORED}@`)
    : text;
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

function pathsOf(key: string): string[] {
  const part = /^[A-Za-z_]\w*$/.test(key) ? key : `["${key}"]`;
  const dotted = part.startsWith('[') ? part : `.${part}`;
  return [part, `*${dotted}`, `*.*${dotted}`];
}
