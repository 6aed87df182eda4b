import { timingSafeEqual } from 'node:crypto';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { ACTOR_HEADER, readActor } from './actor.ts';
import { isUsableText, jsonBody, MAX_DELIVERY_BYTES, mediaType } from './body.ts';
import {
  childTraceparent,
  newTraceparent,
  parseTraceparent,
  type RequestContext,
  runInContext,
} from './context.ts';
import type { FieldError } from './domain-error.ts';
import type { Health } from './health.ts';
import { uuidv7 } from './ids.ts';
import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';
import { decodeOrNothing } from './percent.ts';
import { fieldErrors, ProblemError, problemResponse, type RequestPart, toProblem } from './problem.ts';

export interface AppOptions {
  service: string;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** What the sidecar sends as `dapr-api-token`. */
  appToken: string;
  /** Paths that need no token: the gateway's public routes. The health paths never need one. */
  open?: (path: string) => boolean;
  /** Default 256 KiB. Messages, and what is put in place of one, may have 4 MiB in any case. */
  maxBodyBytes?: number;
}

const HEALTH_PATHS = new Set(['/livez', '/readyz', '/healthz']);
/** Puts a whole message in place of a dead letter: it may be as long as any that is delivered, with a note. */
const EDIT_PATH = /^\/admin\/dead-letters\/\d+\/message$/;
const MAX_EDIT_BYTES = MAX_DELIVERY_BYTES + 64 * 1024;
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/**
 * The base of every service's HTTP side: request id, trace context, access log, metrics, app token, body limits,
 * problem documents and the health routes. Mount routes on what it returns.
 *
 * @example
 * const app = createApp({ service: 'orders', log, metrics, health, appToken: config.APP_API_TOKEN });
 * app.openapi(placeOrderRoute, placeOrder);
 */
export function createApp(o: AppOptions): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result, c) => {
      if (result.success) return undefined;
      const input = (result as { data?: unknown }).data;
      const errors = fieldErrors(
        result.error as Parameters<typeof fieldErrors>[0],
        result.target as RequestPart,
        input,
      );
      return problemResponse(c, new ProblemError('validation_failed', { errors }));
    },
  });
  const isToken = tokenCheck(o.appToken);
  const hasToken = (c: Context) => isToken(c.req.header('dapr-api-token'));

  app.use(observe(o, hasToken));
  app.use(async function guard(c, next) {
    const isOpen = HEALTH_PATHS.has(c.req.path) || o.open?.(c.req.path) === true;
    if (!isOpen && !hasToken(c)) throw new ProblemError('app_token_required');
    checkUrl(c.req.url);
    return next();
  });
  const maxBytes = o.maxBodyBytes ?? 256 * 1024;
  app.use(
    jsonBody(
      (c) => (EDIT_PATH.test(c.req.path) && hasToken(c) ? Math.max(maxBytes, MAX_EDIT_BYTES) : maxBytes),
      (c) => isForMessages(c.req.path) && hasToken(c),
    ),
  );

  app.get('/livez', (c) => c.json({ status: o.health.live() ? 'ok' : 'stuck' }));
  app.get('/readyz', (c) => {
    const { ready, draining } = o.health.details();
    return ready ? c.json({ status: 'ready' }) : c.json({ status: draining ? 'draining' : 'starting' }, 503);
  });
  app.get('/healthz', (c) => c.json(o.health.details()));
  app.get('/metrics', async (c) =>
    c.body(await o.metrics.registry.metrics(), 200, { 'Content-Type': o.metrics.registry.contentType }),
  );

  app.onError((err, c) => answerError(o.log, c, err));
  app.notFound((c) => problemResponse(c, notFound(app, c, hasToken(c))));
  return app;
}

/** Compares in constant time, whatever the lengths. */
function tokenCheck(token: string): (given: string | undefined) => boolean {
  const expected = Buffer.from(token);
  return (given) => {
    const actual = Buffer.from(given ?? '');
    const sameLength = actual.length === expected.length;
    return timingSafeEqual(sameLength ? actual : expected, expected) && sameLength && token !== '';
  };
}

/** Gives the request its context, its line in the log and its place in the metrics. */
function observe(o: AppOptions, hasToken: (c: Context) => boolean): MiddlewareHandler {
  const duration = o.metrics.histogram(
    'http_server_request_duration_seconds',
    'Time from request to answer',
    ['http_request_method', 'http_route', 'http_response_status_code'],
  );
  return async function observeRequest(c, next) {
    const startedAt = performance.now();
    const context = contextOf(c, hasToken(c));
    c.header('X-Request-Id', context.requestId);
    await runInContext(context, async () => {
      try {
        await next();
      } catch (err) {
        c.res = answerError(o.log, c, err); // Hono hands only instances of Error to onError
      }
      const seconds = (performance.now() - startedAt) / 1000;
      const route = routeOf(c);
      const { method, path } = c.req;
      const { status } = c.res;
      duration.observe(
        {
          http_request_method:
            METHODS.includes(method) || method === 'HEAD' || method === 'OPTIONS' ? method : '_OTHER',
          http_route: route,
          http_response_status_code: status,
        },
        seconds,
      );
      const line = { method, path, route, status, duration_ms: Math.round(seconds * 1e5) / 100 };
      if (HEALTH_PATHS.has(path) || path === '/metrics') o.log.debug(line, 'request');
      else o.log.info(line, 'request');
    });
  };
}

/** Only a caller that holds the app token, a sidecar, may say on whose behalf it asks. */
function contextOf(c: Context, trusted: boolean): RequestContext {
  const requestId = c.req.header('x-request-id');
  const traceparent = parseTraceparent(c.req.header('traceparent'));
  const context: RequestContext = {
    traceparent: traceparent === undefined ? newTraceparent() : childTraceparent(traceparent),
    requestId: isVisible(requestId) ? requestId : uuidv7(),
    actor: 'anonymous',
  };
  if (trusted) {
    const actor = readActor(c.req.header(ACTOR_HEADER) ?? '');
    const customerId = c.req.header('x-sidecart-customer-id');
    if (actor !== undefined) context.actor = actor;
    if (isVisible(customerId)) context.customerId = customerId;
  }
  return context;
}

function isVisible(value: string | undefined): value is string {
  return value !== undefined && /^[\x21-\x7e]{1,128}$/.test(value);
}

/** The template of the route (`/v1/orders/:id`), so that ids and made-up paths make no new time series. */
function routeOf(c: Context): string {
  return matchedRoutes(c).findLast((route) => route.path !== '*' && route.path !== '/*')?.path ?? 'unmatched';
}

function answerError(log: Logger, c: Context, err: unknown): Response {
  const { status, code } = toProblem(err);
  if (status >= 500) log[status === 503 ? 'warn' : 'error']({ err, code }, 'request failed');
  return problemResponse(c, err);
}

function isForMessages(path: string): boolean {
  return path === '/messages' || path.startsWith('/messages/');
}

function notFound(app: OpenAPIHono, c: Context, fromSidecar: boolean): ProblemError {
  const isCloudEvent = mediaType(c.req.header('content-type')) === 'application/cloudevents+json';
  // A message is never answered with 404, on which Dapr would drop it; a stranger's request is no message.
  if (fromSidecar && (isForMessages(c.req.path) || isCloudEvent))
    return new ProblemError('message_not_routed', { retryAfterSeconds: 5 });
  const allowed = METHODS.filter((method) =>
    app.router.match(method, c.req.path)[0].some(([[, route]]) => route.method === method),
  );
  if (allowed.length === 0) return new ProblemError('route_not_found');
  if (allowed.includes('GET')) allowed.push('HEAD');
  return new ProblemError('method_not_allowed', { headers: { Allow: allowed.join(', ') } });
}

/** Broken percent-encoding, and text in path or query that no store takes. */
function checkUrl(url: string): void {
  if (!url.includes('%')) return;
  const { pathname, search } = new URL(url);
  const errors: FieldError[] = [];
  const check = (pointer: string, encoded: string) => {
    const text = decodeOrNothing(encoded);
    if (text === undefined)
      errors.push({ pointer, code: 'invalid_encoding', detail: 'Is not percent-encoded UTF-8.' });
    else if (!isUsableText(text))
      errors.push({ pointer, code: 'invalid_text', detail: 'Must not contain a NUL character.' });
  };
  check('path:', pathname);
  for (const pair of search.slice(1).split('&')) {
    const name = decodeOrNothing(pair.split('=', 1)[0] ?? '') ?? '';
    check(`query:${name.replaceAll('\0', '\ufffd').slice(0, 200)}`, pair.replaceAll('+', ' '));
  }
  if (errors.length > 0) throw new ProblemError('validation_failed', { errors });
}
