import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { ProblemError, problemBody, toProblem } from './problem.ts';

export interface RunningServer {
  port: number;
  /**
   * For a second goes on answering, and tells each client with its answer to leave; then stops accepting, lets requests
   * in flight finish for at most `graceMs`, and cuts what is left.
   */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves an app over HTTP/1.1. Faults below Hono (no HTTP, headers too large, a bad Host) are problem documents too.
 *
 * @throws Error of code EADDRINUSE, EACCES, EADDRNOTAVAIL.
 */
export async function listen(o: {
  fetch: (request: Request, env: object) => Response | Promise<Response>;
  port: number;
  host: string;
  /** How long the head of a request may take from its connection on, or from its first byte on a kept one, in ms, default 10 s; for tests. */
  headersMs?: number;
  /** How often that is looked at, in ms, default 30 s; for tests. */
  checkMs?: number;
  /** How long a connection may go without a request at first, in ms, default 120 s; for tests. */
  unusedMs?: number;
}): Promise<RunningServer> {
  let closing = false;
  const active = new Set<http.ServerResponse>();
  /** Connections that were opened ahead and not used yet, and what ends them at last. Node has them for active ones. */
  const unused = new Map<Socket, NodeJS.Timeout>();
  const unwatch = (socket: Socket) => {
    clearTimeout(unused.get(socket));
    unused.delete(socket);
  };
  const listener = getRequestListener(o.fetch as Parameters<typeof getRequestListener>[0], {
    hostname: 'localhost', // for the URL of a request without Host, which HTTP/1.0 allows
    errorHandler: () => {
      const problem = toProblem(new ProblemError('bad_request'));
      const headers = { 'Content-Type': 'application/problem+json' };
      return new Response(JSON.stringify(problemBody(problem, {})), { status: problem.status, headers });
    },
  });
  const server = http.createServer({ connectionsCheckingInterval: o.checkMs }, (req, res) => {
    unwatch(req.socket); // from here on Node watches over the connection
    if (closing) sayLast(res);
    active.add(res);
    res.once('close', () => active.delete(res));
    void listener(req, res);
  });
  // Longer than the 90 s for which the sidecar keeps an idle connection: else it now and then sends into a closed one.
  server.keepAliveTimeout = 120_000;
  server.headersTimeout = o.headersMs ?? 10_000;
  server.requestTimeout = 30_000;
  server.on('clientError', answerClientError);
  server.on('connection', (socket) => {
    unused.set(
      socket,
      setTimeout(() => socket.destroy(), o.unusedMs ?? server.keepAliveTimeout),
    );
    socket.once('close', () => unwatch(socket));
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(o.port, o.host, resolve);
  });

  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      closing = true;
      for (const res of active) sayLast(res);
      // A kept connection that is cut while its client is just sending loses a request; who leaves by himself loses none.
      await sleep(FAREWELL_MS);
      const stopped = performance.now();
      const sweep = setInterval(() => {
        server.closeIdleConnections();
        // Who sends line ends, no HTTP, or a head without its end would hold up the stop for the whole grace: Node has him for active, and from
        // `close` on no longer looks at the time of heads.
        const late = performance.now() - stopped > HEAD_MS;
        for (const socket of unused.keys()) if (late || socket.bytesRead === 0) socket.destroy();
      }, 50);
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      await new Promise((resolve) => server.close(resolve));
      clearInterval(sweep);
      clearTimeout(cut);
    },
  };
}

/** Of 40 clients that use their kept connections all the time, about 15 lose a request at a stop without it, none with it. */
const FAREWELL_MS = 1000;

/** For how long a stop waits for the rest of a first head, enough for a packet to be sent again: who is cut in its middle loses a request. */
const HEAD_MS = 1000;

/** Tells the client not to use the connection again, so that its next request does not race our closing of it. */
function sayLast(res: http.ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close');
}

const CODE_OF_CLIENT_ERROR: Record<string, string> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

/** What Node's HTTP parser refuses never becomes a request, so the answer is written by hand. */
function answerClientError(err: Error & { code?: string }, socket: Socket): void {
  // Node also counts the time of a connection that was opened ahead and not used yet. What is said on it would be taken for the answer to a
  // request that is just being sent.
  if (err.code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0) return;
  if (err.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = toProblem(new ProblemError(CODE_OF_CLIENT_ERROR[err.code ?? ''] ?? 'bad_request'));
  const body = JSON.stringify(problemBody(problem, {}));
  socket.end(
    `HTTP/1.1 ${problem.status} ${http.STATUS_CODES[problem.status]}\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
