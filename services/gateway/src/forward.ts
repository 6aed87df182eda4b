import type { PublicRoute } from '@sidecart/contracts/service-topology';
import { currentContext, type RequestContext, runInContext } from '@sidecart/kit/context';
import { type Dapr, DaprError, type InvokeAnswer } from '@sidecart/kit/dapr';
import type { FieldError } from '@sidecart/kit/domain-error';
import { ProblemError } from '@sidecart/kit/problem';
import type { Context } from 'hono';

/**
 * All that a client's request and a service's answer may carry past the gateway, beside what a route names itself; everything else stays
 * outside.
 */
const REQUEST_HEADERS = ['content-type', 'accept', 'idempotency-key'];
const ANSWER_HEADERS = ['content-type', 'location', 'retry-after', 'idempotency-replayed'];

/**
 * Asks the service behind a public route what the client asked. Trace and request id travel with the context of
 * the request. Throws ProblemError `upstream_refused` when access control says no, DaprError when the way is broken.
 */
export async function forward(
  dapr: Pick<Dapr, 'invoke'>,
  route: PublicRoute,
  c: Context,
): Promise<InvokeAnswer> {
  const body = c.req.method === 'GET' || c.req.method === 'HEAD' ? '' : await c.req.text();
  const request = {
    method: route.method,
    path: `${pathOf(route.path, c.req.param())}${queryOf(c.req.queries())}`,
    headers: Object.fromEntries(
      [...REQUEST_HEADERS, ...(route.headers ?? [])].flatMap((name) => {
        const value = c.req.header(name);
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    timeoutMs: route.timeoutMs,
    ...(body !== '' && { body }),
  };
  try {
    return await runInContext(anonymous(), () => dapr.invoke(route.service, request));
  } catch (err) {
    const isOurFault = err instanceof DaprError && (err.kind === 'denied' || err.kind === 'refused');
    throw isOurFault ? new ProblemError('upstream_refused', { cause: err }) : err;
  }
}

/** The service's answer as the client gets it. */
export function passBack(c: Context, answer: InvokeAnswer, body = answer.body): Response {
  for (const name of ANSWER_HEADERS) {
    const value = answer.headers.get(name);
    if (value !== null) c.header(name, value);
  }
  return c.newResponse(body === '' ? null : body, answer.status as 200);
}

/** Until there is sign-in everybody is anonymous, whatever a client says about itself. */
function anonymous(): RequestContext {
  const context = currentContext();
  if (!context) throw new Error('Forwarding outside of a request');
  return { traceparent: context.traceparent, requestId: context.requestId, actor: 'anonymous' };
}

/**
 * The path is built from the route that matched, never taken from the request: a parameter is one plain word, so
 * that it can neither climb out of its place (`..`, an encoded slash) nor begin a query.
 */
function pathOf(template: string, params: Record<string, string>): string {
  const errors: FieldError[] = [];
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name] ?? '';
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(value)) return encodeURIComponent(value);
    errors.push({
      pointer: `path:${name}`,
      code: 'invalid_format',
      detail: 'Expected 1 to 128 letters, digits, dots, underscores or hyphens, the first a letter or digit.',
    });
    return '';
  });
  if (errors.length > 0) throw new ProblemError('validation_failed', { errors });
  return path;
}

function queryOf(queries: Record<string, string[]>): string {
  const query = new URLSearchParams();
  for (const [name, values] of Object.entries(queries)) {
    for (const value of values) query.append(name, value);
  }
  return query.size === 0 ? '' : `?${query}`;
}
