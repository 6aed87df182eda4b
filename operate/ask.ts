import { ACTOR_HEADER, writeActor } from '@sidecart/kit/actor';
import { ShopError } from '../local/shop-error.ts';
import type { ServiceAccess } from './service-access.ts';

/** Nobody heard the question, or nobody answered in time. */
export class NoAnswerError extends ShopError {}

export interface Answer {
  status: number;
  ok: boolean;
  text: string;
}

export type Ask = (
  method: string,
  path: string,
  o: { body?: object | undefined; ms: number },
) => Promise<Answer>;

/**
 * Asks the admin API of a service on behalf of a person. `see` is the command that shows what became of a change that was not
 * answered in time.
 *
 * @throws NoAnswerError when the network fails or the time is over; any other error as it is.
 */
export function askingOf(
  service: string,
  { url, token }: ServiceAccess,
  actor: string,
  o: { see: string },
): Ask {
  return async (method, path, { body, ms }) => {
    try {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: {
          'dapr-api-token': token,
          [ACTOR_HEADER]: writeActor(actor),
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(ms),
      });
      return { status: answer.status, ok: answer.ok, text: await answer.text() };
    } catch (cause) {
      if ((cause as Error).name === 'TimeoutError')
        throw new NoAnswerError(
          `${service} has not answered within ${ms / 1000} s`,
          // A command that only asks cannot be the cure of its own silence.
          method === 'GET'
            ? 'look at its log, and at what its /healthz says'
            : `it may still be at work: see \`${o.see}\` and its log`,
          { cause },
        );
      if (!isNetworkError(cause)) throw cause;
      if (method !== 'GET' && IN_THE_MIDDLE.has(codeOf(cause)))
        throw new NoAnswerError(
          `The connection to ${service} at ${url} ended before it answered`,
          `it may have been done: see \`${o.see}\`, and its log`,
          { cause },
        );
      throw new NoAnswerError(`${service} does not answer at ${url}`, 'is it running? Look at its log', {
        cause,
      });
    }
  };
}

/** It was heard, or may have been. */
const IN_THE_MIDDLE = new Set<unknown>([
  'ECONNRESET',
  'EPIPE',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);
const OF_THE_CLIENT = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** `fetch` throws a TypeError for a broken connection and for a header or URL that cannot be sent: only the first has such a cause. */
function isNetworkError(error: unknown): boolean {
  const code = codeOf(error);
  return typeof code === 'string' && (/^E(?!RR_)/.test(code) || OF_THE_CLIENT.has(code));
}

function codeOf(error: unknown): unknown {
  return (((error as Error).cause ?? {}) as { code?: unknown }).code;
}
