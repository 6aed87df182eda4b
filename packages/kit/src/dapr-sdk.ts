import { AsyncLocalStorage } from 'node:async_hooks';
import type { DaprClient, HTTPClient } from '@dapr/dapr';
import { DaprError } from './dapr-error.ts';
import type { SidecarHttp } from './sidecar-http.ts';

export interface DaprSdk {
  publish(component: string, topic: string, cloudEvent: object, timeoutMs: number): Promise<void>;
  getSecret(store: string, name: string, timeoutMs: number): Promise<Record<string, string>>;
  shutdown(timeoutMs: number): Promise<void>;
}

interface Call {
  send: SidecarHttp;
  timeoutMs: number;
  /** Sent beside the SDK's own. */
  headers: Record<string, string>;
}

/** What the SDK's call in progress may use: its methods take neither a signal nor a deadline. */
const call = new AsyncLocalStorage<Call>();

const silent = () => {};
const noLog = { error: silent, warn: silent, info: silent, verbose: silent, debug: silent };

/**
 * DaprClient over HTTP with its traps taken out: errors are thrown and typed, calls have a deadline and are really
 * ended by it, nothing waits for the sidecar's start, nothing is written to the console. The SDK is loaded at the first
 * call, as it costs tens of megabytes that an app which only invokes need not pay.
 */
export function createDaprSdk(o: {
  host: string;
  port: number;
  apiToken: string;
  send: SidecarHttp;
}): DaprSdk {
  let client: Promise<DaprClient> | undefined;

  async function run<T>(
    timeoutMs: number,
    use: (client: DaprClient) => Promise<T>,
    headers: Record<string, string> = {},
  ): Promise<T> {
    client ??= load(o);
    const loaded = await client;
    return call.run({ send: o.send, timeoutMs, headers }, () => use(loaded));
  }

  return {
    async publish(component, topic, cloudEvent, timeoutMs) {
      const options = { contentType: 'application/cloudevents+json' };
      // The sidecar writes the traceparent of this request into the event, over the one that is there.
      const { traceparent } = cloudEvent as { traceparent?: unknown };
      const headers: Record<string, string> = typeof traceparent === 'string' ? { traceparent } : {};
      const { error } = await run(
        timeoutMs,
        (c) => c.pubsub.publish(component, topic, cloudEvent, options),
        headers,
      );
      if (error) throw publishError(component, topic, error);
    },
    async getSecret(store, name, timeoutMs) {
      try {
        return (await run(timeoutMs, (c) => c.secret.get(store, name))) as Record<string, string>;
      } catch (err) {
        throw sdkError(err, `Secret ${name} of store ${store} cannot be read`);
      }
    },
    async shutdown(timeoutMs) {
      try {
        await run(timeoutMs, (c) => c.sidecar.shutdown());
      } catch (err) {
        throw sdkError(err, 'The sidecar cannot be shut down');
      }
    },
  };
}

async function load(o: { host: string; port: number; apiToken: string }): Promise<DaprClient> {
  const sdk = await import('@dapr/dapr');
  // One node-fetch with one agent for the whole process, without deadlines: replaced by our own.
  (sdk.HTTPClient as unknown as { client: unknown }).client = fetchOfSdk;
  const client = new sdk.DaprClient({
    daprHost: o.host,
    daprPort: String(o.port),
    communicationProtocol: sdk.CommunicationProtocolEnum.HTTP,
    daprApiToken: o.apiToken,
    logger: { service: noLog },
  });
  // Else its first call polls the sidecar for up to 10 s; the app has waited for /healthz/outbound already.
  (client.daprClient as unknown as { setIsInitialized(done: boolean): void } & HTTPClient).setIsInitialized(
    true,
  );
  return client;
}

async function fetchOfSdk(
  url: string,
  options: { method: string; headers: Record<string, string>; body?: string | Buffer },
) {
  const { send, timeoutMs, headers: added } = call.getStore() as Call;
  const { pathname, search } = new URL(url);
  const { method, headers, body } = options;
  const answer = await send({
    method,
    path: pathname + search,
    headers: { ...headers, ...added },
    timeoutMs,
    ...(body !== undefined && { body }),
  });
  const status = pathname.startsWith('/v1.0/publish/') ? publishStatus(answer.status) : answer.status;
  return { status, statusText: '', text: () => Promise.resolve(answer.body) };
}

/** The sidecar acknowledges a message with 204. Another success is somebody else's, or has failures in it: it is none. */
function publishStatus(status: number): number {
  return status >= 200 && status < 300 && status !== 204 ? 502 : status;
}

function publishError(component: string, topic: string, error: unknown): DaprError {
  const what = `Publishing to ${topic} on ${component} failed`;
  const plain = sdkError(error, what);
  // Texts of nats.go and of Redis: the pub/sub API has one error code for all of a broker's faults.
  if (/no response from stream|\bWRONGTYPE\b/.test(plain.message))
    return new DaprError('no-stream', plain.message, plain);
  if (plain.message.includes('connection closed'))
    return new DaprError('connection-closed', plain.message, plain);
  if (plain.message.includes('ERR_PUBSUB_NOT_FOUND'))
    return new DaprError('no-component', plain.message, plain);
  return plain;
}

/** The SDK's error for a status that is no success is an Error whose message is JSON. */
function sdkError(error: unknown, what: string): DaprError {
  if (error instanceof DaprError) return error;
  const answer = answerOf(error);
  if (!answer) return new DaprError('unavailable', `${what}: ${String(error)}`, { cause: error });
  const { status, error_msg } = answer;
  const kind =
    status >= 500 || status === 429 ? 'unavailable' : status === 401 || status === 403 ? 'denied' : 'refused';
  return new DaprError(kind, `${what}: ${error_msg}`, { status });
}

function answerOf(error: unknown): { status: number; error_msg: string } | undefined {
  try {
    const answer: unknown = JSON.parse((error as Error).message);
    const isAnswer =
      typeof answer === 'object' && answer !== null && 'status' in answer && 'error_msg' in answer;
    return isAnswer ? (answer as { status: number; error_msg: string }) : undefined;
  } catch {
    return undefined;
  }
}
