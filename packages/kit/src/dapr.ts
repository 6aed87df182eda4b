import { setTimeout as sleep } from 'node:timers/promises';
import { ACTOR_HEADER, writeActor } from './actor.ts';
import { childTraceparent, currentContext } from './context.ts';
import { DaprError } from './dapr-error.ts';
import { createDaprSdk } from './dapr-sdk.ts';
import { createSidecarHttp, type SidecarAnswer } from './sidecar-http.ts';

// biome-ignore lint/performance/noBarrelFile: the error belongs to this API; its own file keeps kit/problem free of the SDK
export { DaprError, type DaprErrorKind } from './dapr-error.ts';

export interface InvokeRequest {
  method: string;
  /** Path and query on the called app, already percent-encoded. */
  path: string;
  /** A string is sent as it is, anything else as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  timeoutMs: number;
}

export interface InvokeAnswer {
  status: number;
  headers: Headers;
  body: string;
  /** @throws SyntaxError when the body is no JSON. */
  json(): unknown;
}

export interface BindingRequest {
  /** What the binding calls it: `create`, `get`. */
  operation: string;
  data?: unknown;
  metadata?: Record<string, string>;
  timeoutMs: number;
}

/** The sidecar. Every call has a deadline; every failure of the sidecar is a {@link DaprError}. */
export interface Dapr {
  /**
   * Publishes one CloudEvent (structured JSON, with its own id). Default deadline 6 s: while its broker is away
   * JetStream gives up after 5, Redis after 2 or, when it is frozen, with the sidecar's own deadline. A failed publish may still arrive later: repeat it under the same id only.
   */
  publish(component: string, topic: string, cloudEvent: object, o?: { timeoutMs?: number }): Promise<void>;
  /**
   * Calls another app. Resolves with whatever that app answered, problem documents included; throws only for faults
   * of the way there: `denied` (access control), `timeout`, `unavailable`. Carries trace, request id and actor of the
   * current context.
   *
   * @example
   * const answer = await dapr.invoke('products', { method: 'POST', path: '/v1/quotes', body: { skus }, timeoutMs: 1000 });
   * if (answer.status === 200) quotes.parse(answer.json());
   */
  invoke(appId: string, o: InvokeRequest): Promise<InvokeAnswer>;
  /** Has an output binding do something; resolves with what it answered, as text. Nothing tells how far a failed one came. */
  invokeBinding(component: string, o: BindingRequest): Promise<string>;
  /** The key-value pairs of one secret. */
  getSecret(store: string, name: string): Promise<Record<string, string>>;
  /** Waits until the sidecar's components are up; it does not wait for this app's own port, so call it before listening. */
  waitForOutbound(timeoutMs: number): Promise<void>;
  /** Asks the sidecar to end; whoever runs it starts a fresh one. */
  shutdownSidecar(): Promise<void>;
}

/** The only way to the sidecar; nothing else in the repository imports @dapr/dapr. */
export function createDapr(o: { httpPort: number; apiToken: string; host?: string }): Dapr {
  const host = o.host ?? '127.0.0.1';
  const send = createSidecarHttp({ host, port: o.httpPort });
  const sdk = createDaprSdk({ host, port: o.httpPort, apiToken: o.apiToken, send });

  return {
    publish: (component, topic, cloudEvent, options) =>
      sdk.publish(component, topic, cloudEvent, options?.timeoutMs ?? 6000),
    getSecret: (store, name) => sdk.getSecret(store, name, 5000),
    shutdownSidecar: () => sdk.shutdown(5000),

    async invoke(appId, request) {
      const { body } = request;
      const answer = await send({
        method: request.method,
        path: request.path,
        timeoutMs: request.timeoutMs,
        headers: {
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...lowerCased(request.headers),
          ...contextHeaders(),
          'dapr-app-id': appId,
          'dapr-api-token': o.apiToken,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      throwIfSidecarFailed(appId, answer);
      return { ...answer, json: () => JSON.parse(answer.body) };
    },

    async invokeBinding(component, { timeoutMs, ...request }) {
      const traceparent = contextHeaders().traceparent;
      const answer = await send({
        method: 'POST',
        path: `/v1.0/bindings/${encodeURIComponent(component)}`,
        timeoutMs,
        headers: {
          'content-type': 'application/json',
          'dapr-api-token': o.apiToken,
          ...(traceparent !== undefined && { traceparent }),
        },
        body: JSON.stringify(request),
      });
      if (answer.status >= 400) throw bindingError(component, request.operation, answer);
      return answer.body;
    },

    async waitForOutbound(timeoutMs) {
      const until = performance.now() + timeoutMs;
      for (;;) {
        const left = until - performance.now();
        if (left <= 0)
          throw new DaprError(
            'timeout',
            `The sidecar at ${host}:${o.httpPort} was not up within ${timeoutMs} ms`,
          );
        const request = {
          method: 'GET',
          path: '/v1.0/healthz/outbound',
          headers: {},
          timeoutMs: Math.min(left, 1000),
        };
        const status = await send(request).then(
          (answer) => answer.status,
          () => 0,
        );
        if (status === 204) return;
        await sleep(Math.min(50, left));
      }
    },
  };
}

/** The sidecar has one error code for all that can go wrong behind a binding. */
function bindingError(component: string, operation: string, { status, body }: SidecarAnswer): DaprError {
  const message = `${operation} on ${component} failed: ${body}`;
  if (body.includes("couldn't find output binding"))
    return new DaprError('no-component', message, { status });
  if (status === 401 || status === 403) return new DaprError('denied', message, { status });
  return new DaprError(status < 500 ? 'refused' : 'unavailable', message, { status });
}

function contextHeaders(): Record<string, string> {
  const context = currentContext();
  if (!context) return {};
  return {
    traceparent: childTraceparent(context.traceparent),
    'x-request-id': context.requestId,
    [ACTOR_HEADER]: writeActor(context.actor),
    ...(context.customerId !== undefined && { 'x-sidecart-customer-id': context.customerId }),
  };
}

function lowerCased(headers: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/**
 * Dapr's own faults are JSON with an errorCode (dapr pkg/messages/predefined.go), or text when the API token is wrong.
 * Our apps answer faults as application/problem+json, so the two cannot be mixed up.
 */
function throwIfSidecarFailed(appId: string, { status, headers, body }: SidecarAnswer): void {
  if (status < 400) return;
  const type = headers.get('content-type') ?? '';
  if (status === 401 && type.startsWith('text/plain') && body.startsWith('invalid api token')) {
    throw new DaprError('denied', 'The sidecar refused the API token', { status });
  }
  if (!type.startsWith('application/json') || !body.includes('"ERR_DIRECT_INVOKE"')) return;
  const message = `Calling ${appId} failed: ${body}`;
  if (status === 403) throw new DaprError('denied', message, { status });
  throw new DaprError(/deadline ?exceeded|timeout/i.test(body) ? 'timeout' : 'unavailable', message, {
    status,
  });
}
