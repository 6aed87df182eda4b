import type { Context, MiddlewareHandler } from 'hono';
import type { FieldError } from './domain-error.ts';
import { ProblemError } from './problem.ts';

const MAX_DEPTH = 32;
/** What the sidecar itself accepts; a message above the app's own limit must still reach its handler. */
export const MAX_DELIVERY_BYTES = 4 * 1024 * 1024;

/**
 * Reads the body once, within what `maxBytes` says for the request, and refuses what is no usable JSON before any handler sees it. Deliveries of
 * messages are only measured: what is wrong with them is for the consumer to judge and to keep.
 */
export function jsonBody(
  maxBytes: (c: Context) => number,
  isDelivery: (c: Context) => boolean,
): MiddlewareHandler {
  return async function readJsonBody(c, next) {
    if (c.req.method === 'GET' || c.req.method === 'HEAD') return next();
    // Hono keeps promises in this cache, whatever its type says.
    const cache = c.req.bodyCache as Record<string, Promise<unknown>>;
    if (isDelivery(c)) {
      cache.arrayBuffer = Promise.resolve(await readWithin(c, Math.max(maxBytes(c), MAX_DELIVERY_BYTES)));
      return next();
    }
    const bytes = await readWithin(c, maxBytes(c));
    // Only the bytes tell whether there is a body: a sidecar frames and labels an empty one as if there were. Without
    // one it is the missing fields that count, not the media type, and the validators are to look no further either.
    if (bytes.byteLength === 0) c.req.raw.headers.set('content-type', 'application/json');
    else checkMediaType(c);
    const text = decode(bytes);
    cache.text = Promise.resolve(text);
    useAsBody(c, text === '' ? {} : parse(text));
    return next();
  };
}

/** What the validators get when they ask for the body: it is parsed once only. */
function useAsBody(c: Context, value: unknown): void {
  c.req.json = <T>() => Promise.resolve(value as T);
}

function checkMediaType(c: Context): void {
  const type = c.req.header('content-type');
  const encoding = c.req.header('content-encoding');
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(type ?? '')?.[1]?.toLowerCase();
  const isJson = /^application\/([\w.-]+\+)?json$/.test(mediaType(type));
  const isUtf8 = charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii';
  if (isJson && isUtf8 && (encoding === undefined || encoding === 'identity')) return;
  const name = isJson && isUtf8 ? 'Content-Encoding' : 'Content-Type';
  throw new ProblemError('unsupported_media_type', {
    errors: [
      {
        pointer: `header:${name}`,
        code: 'not_allowed',
        detail: 'Use application/json in UTF-8, uncompressed.',
      },
    ],
  });
}

/** The media type in lower case and without parameters; empty when none is given. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

async function readWithin(c: Context, maxBytes: number): Promise<ArrayBuffer> {
  const tooLarge = () =>
    new ProblemError('payload_too_large', { detail: `At most ${maxBytes} bytes are taken.` });
  const length = c.req.header('content-length');
  if (length !== undefined && Number(length) > maxBytes) throw tooLarge();
  try {
    if (length !== undefined) {
      const bytes = await c.req.raw.arrayBuffer();
      if (bytes.byteLength > maxBytes) throw tooLarge();
      return bytes;
    }
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of c.req.raw.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
    const all = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.byteLength;
    }
    return all.buffer;
  } catch (err) {
    if (err instanceof ProblemError) throw err;
    throw new ProblemError('bad_request', { detail: 'The body ended early.', cause: err }); // the client is gone
  }
}

function decode(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ProblemError('malformed_json', { detail: 'The body is not valid UTF-8.' });
  }
}

function parse(text: string): unknown {
  if (depthOf(text) > MAX_DEPTH) {
    throw new ProblemError('malformed_json', {
      detail: `The body is nested more than ${MAX_DEPTH} levels deep.`,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (err) {
    const position = /at position (\d+)/.exec(String(err))?.[1];
    throw new ProblemError('malformed_json', {
      detail:
        position === undefined
          ? 'The body is not JSON.'
          : `The body stops being JSON at character ${position}.`,
    });
  }
  // Only an escape can bring in what raw UTF-8 cannot hold, and only these bodies need the walk.
  if (text.includes('\\u') || text.includes('__proto__')) {
    const errors = unusable(value, '');
    if (errors.length > 0) throw new ProblemError('validation_failed', { errors });
  }
  return value;
}

/** How deep brackets are nested outside of strings; cheap enough to run before anything recursive sees the text. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (inString) {
      if (char === 0x5c) i++;
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x5b || char === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (char === 0x5d || char === 0x7d) depth--;
  }
  return deepest;
}

/** Strings that PostgreSQL cannot store (NUL, half a surrogate pair) and keys that would change a prototype. */
function unusable(value: unknown, pointer: string): FieldError[] {
  if (typeof value === 'string') return isUsableText(value) ? [] : [badText(pointer)];
  if (Array.isArray(value)) return value.flatMap((item, i) => unusable(item, `${pointer}/${i}`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    if (key === '__proto__')
      return [
        { pointer: `${pointer}/${key}`, code: 'unknown_field', detail: 'Is not a field of this request.' },
      ];
    const at = `${pointer}/${key.toWellFormed().replaceAll('\0', '\ufffd').replaceAll('~', '~0').replaceAll('/', '~1')}`;
    return isUsableText(key) ? unusable(item, at) : [badText(at)];
  });
}

/** False for text with a NUL or half a surrogate pair: PostgreSQL refuses both. */
export function isUsableText(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function badText(pointer: string): FieldError {
  return {
    pointer,
    code: 'invalid_text',
    detail: 'Must not contain a NUL character or half a surrogate pair.',
  };
}
