import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import pRetry from 'p-retry';
import { SourceError } from './errors.ts';

export interface Http {
  /** A small text, or undefined where the server says that there is none (404). */
  text(url: string): Promise<string | undefined>;
  /** Writes what the address gives to `path`. Returns its SHA-256 in hexadecimal. */
  file(
    url: string,
    path: string,
    onProgress: (bytes: number, total: number | undefined) => void,
  ): Promise<string>;
}

export interface HttpLimits {
  /** How long a server may take to answer at all, in milliseconds. */
  connectMs: number;
  /** How long an answer may pause between two pieces of it, in milliseconds. A slow one is fine. */
  stallMs: number;
}

const LIMITS: HttpLimits = { connectMs: 5000, stallMs: 30_000 };

interface Answer {
  status: number;
  length: number | undefined;
  chunks: AsyncIterable<Uint8Array>;
}

/**
 * Fetches from servers that may be out of reach. One that was so once is not asked again by the same client.
 * Everything fails with SourceError; what may pass by itself is tried three times first.
 */
export function createHttp(limits: HttpLimits = LIMITS, signal?: AbortSignal): Http {
  const unreachable = new Set<string>();

  async function open(url: string, limit: AbortSignal): Promise<Response> {
    const { host } = new URL(url);
    if (unreachable.has(host)) throw new SourceError(`no connection to ${host}`);
    try {
      return await fetch(url, { signal: signal === undefined ? limit : AbortSignal.any([limit, signal]) });
    } catch (cause) {
      unreachable.add(host);
      throw new SourceError(`no connection to ${host}: ${reasonOf(cause)}`, { cause });
    }
  }

  async function attempt<T>(url: string, read: (answer: Answer) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const limit = (ms: number, what: string) => setTimeout(() => controller.abort(new Error(what)), ms);
    let timer = limit(limits.connectMs, `none within ${limits.connectMs / 1000} s`);
    try {
      const response = await open(url, controller.signal);
      clearTimeout(timer);
      timer = limit(limits.stallMs, `nothing came for ${limits.stallMs / 1000} s`);
      const { status } = response;
      if (status >= 400 && status !== 404) {
        throw new PassingError(`${url} answers ${status}`, status >= 500 || status === 429);
      }
      async function* chunks() {
        for await (const chunk of response.body ?? []) {
          timer.refresh();
          yield chunk;
        }
      }
      const length = response.headers.get('content-length');
      return await read({ status, length: length === null ? undefined : Number(length), chunks: chunks() });
    } catch (cause) {
      if (cause instanceof SourceError) throw cause;
      throw new PassingError(`${url} broke off: ${reasonOf(cause)}`, true, { cause });
    } finally {
      clearTimeout(timer);
      controller.abort(); // an answer that nobody reads to its end would keep its connection
    }
  }

  function get<T>(url: string, read: (answer: Answer) => Promise<T>): Promise<T> {
    const shouldRetry = ({ error }: { error: Error }) =>
      error instanceof PassingError && error.mayPass && !signal?.aborted;
    return pRetry(() => attempt(url, read), { retries: 2, minTimeout: 300, shouldRetry });
  }

  return {
    text: (url) =>
      get(url, async (answer) => (answer.status === 404 ? undefined : await text(answer.chunks))),
    file: (url, path, onProgress) =>
      get(url, async ({ status, length, chunks }) => {
        if (status === 404) throw new SourceError(`${url} does not exist`);
        const hash = createHash('sha256');
        let bytes = 0;
        await pipeline(
          chunks,
          async function* (source) {
            for await (const chunk of source) {
              hash.update(chunk);
              bytes += chunk.length;
              onProgress(bytes, length);
              yield chunk;
            }
          },
          createWriteStream(path),
        );
        return hash.digest('hex');
      }),
  };
}

/** A failure of a server that was reached. Tried again where it may pass by itself. */
class PassingError extends SourceError {
  readonly mayPass: boolean;

  constructor(message: string, mayPass: boolean, options?: ErrorOptions) {
    super(message, options);
    this.mayPass = mayPass;
  }
}

// What fetch throws says "fetch failed"; why is in its cause, or in the first of several for several addresses.
function reasonOf(err: unknown): string {
  if (err instanceof AggregateError && err.errors.length > 0) return reasonOf(err.errors[0]);
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : reasonOf(err.cause);
}
