import http from 'node:http';
import { DaprError } from './dapr-error.ts';

export interface SidecarAnswer {
  status: number;
  headers: Headers;
  body: string;
}

export interface SidecarRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string | Buffer;
  /** For the whole exchange, the last byte of the answer included. */
  timeoutMs: number;
}

export type SidecarHttp = (request: SidecarRequest) => Promise<SidecarAnswer>;

/**
 * HTTP to one sidecar over kept connections. Rejects with a DaprError of kind `timeout` or `unavailable`; every answer,
 * whatever its status, is returned.
 */
export function createSidecarHttp(o: { host: string; port: number }): SidecarHttp {
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 32 });
  return function send(request) {
    return new Promise((resolve, reject) => {
      const { body } = request;
      const req = http.request({
        host: o.host,
        port: o.port,
        agent,
        method: request.method,
        path: request.path,
        // Without a length Node sends chunks, and Dapr neither retries nor replays a streamed request.
        headers:
          body === undefined
            ? request.headers
            : { ...request.headers, 'content-length': Buffer.byteLength(body) },
      });
      const timer = setTimeout(() => {
        req.destroy(new DaprError('timeout', `The sidecar did not answer within ${request.timeoutMs} ms`));
      }, request.timeoutMs);
      const fail = (err: Error) => {
        clearTimeout(timer);
        if (err instanceof DaprError) return reject(err);
        reject(
          new DaprError(
            'unavailable',
            `The sidecar at ${o.host}:${o.port} cannot be reached: ${err.message}`,
            { cause: err },
          ),
        );
      };
      req.on('error', fail);
      req.on('response', (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', fail);
        res.on('end', () => {
          clearTimeout(timer);
          resolve({
            status: res.statusCode ?? 0,
            headers: headersOf(res),
            body: Buffer.concat(chunks).toString(),
          });
        });
      });
      req.end(body);
    });
  };
}

function headersOf(res: http.IncomingMessage): Headers {
  const headers = new Headers();
  for (let i = 0; i + 1 < res.rawHeaders.length; i += 2)
    headers.append(res.rawHeaders[i] as string, res.rawHeaders[i + 1] as string);
  return headers;
}
