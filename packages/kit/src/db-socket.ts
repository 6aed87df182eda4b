import net from 'node:net';
import tls from 'node:tls';
import postgres from 'postgres';
import { connectionError, isTransientDbError } from './db-errors.ts';
import { parseDatabaseUrl, type ServerTls } from './db-url.ts';

/**
 * To be run on a connection after a statement that failed: postgres.js 3.4.9 takes the rows that came before the failure for places in the
 * next answer, which then begins with as many holes (porsager/postgres #1119, #1181). An answer without rows takes none.
 */
export const NO_ROWS = 'SELECT WHERE false';

export interface SocketOptions {
  host: string;
  port: number;
  tls?: ServerTls;
  /** Ends the attempt, with its reason. Once the socket is open it means nothing. */
  signal: AbortSignal;
}

/**
 * A postgres.js for programs that need a connection outside of kit's pool. It understands the same URLs as the pool
 * does (see `parseDatabaseUrl`), TLS included.
 */
export function openPostgres(
  url: string,
  options: postgres.Options<Record<string, postgres.PostgresType>> & { connect_timeout: number },
): postgres.Sql {
  const { url: plainUrl, tls: how } = parseDatabaseUrl(url);
  if (!how) return postgres(plainUrl, { ...options, ssl: false });
  const socket = async ({ host: [host], port: [port] }: { host: string[]; port: number[] }) => {
    // Its own timer starts only when it has the socket.
    const signal = AbortSignal.timeout(options.connect_timeout * 1000);
    return openSocket({ host: host as string, port: port as number, tls: how, signal });
  };
  return postgres(plainUrl, { ...options, ssl: false, ...{ socket } });
}

/**
 * Connects; the socket is ready for PostgreSQL's startup message, TLS being agreed upon if it is wanted. An error that
 * comes later is emitted as on every socket, but ends nothing when nobody listens.
 *
 * @throws Error of a transient code (see db-errors.ts) when there is no connection to be had just now; another one,
 * which says what to change, when the server speaks no TLS or shows a certificate that is not trusted.
 */
export async function openSocket(o: SocketOptions): Promise<net.Socket> {
  o.signal.throwIfAborted();
  let socket = net.connect({
    host: o.host,
    port: o.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 10_000,
  });
  const giveUp = () => socket.destroy(o.signal.reason);
  o.signal.addEventListener('abort', giveUp);
  try {
    await reached(socket, 'connect');
    if (!o.tls) return socket;
    await agreeOnTls(socket, o);
    socket = tls.connect(tlsOptions(socket, o.host, o.tls));
    await reached(socket, 'secureConnect');
    return socket;
  } catch (err) {
    socket.destroy();
    throw explained(err as FailedConnect, o);
  } finally {
    o.signal.removeEventListener('abort', giveUp);
  }
}

/** Length, and a protocol version that there is not. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const YES = 'S'.charCodeAt(0);
const NO = 'N'.charCodeAt(0);

async function agreeOnTls(socket: net.Socket, o: SocketOptions): Promise<void> {
  socket.write(SSL_REQUEST);
  const answer = await reached(socket, 'data');
  if (answer.length === 1 && answer[0] === YES) return;
  if (answer.length === 1 && answer[0] === NO)
    throw connectionError(
      'TLS_REFUSED',
      `PostgreSQL at ${o.host}:${o.port} does not speak TLS; switch it on there, or use sslmode=disable where the network is trusted`,
    );
  // Its text is not shown: until there is TLS anybody could have sent it. Nor is there anything to say after a yes.
  throw connectionError(
    'CONNECTION_CLOSED',
    `PostgreSQL at ${o.host}:${o.port} did not say whether it speaks TLS`,
  );
}

function tlsOptions(socket: net.Socket, host: string, { mode, ca }: ServerTls): tls.ConnectionOptions {
  return {
    socket,
    host,
    // An address is no server name in TLS; the certificate is compared with `host` then.
    ...(net.isIP(host) === 0 && { servername: host }),
    rejectUnauthorized: mode !== 'require',
    ...(mode !== 'verify-full' && { checkServerIdentity: () => undefined }),
    ...(ca !== undefined && { ca }),
  };
}

/** Resolves at `event`; rejects when the socket fails or closes before it. */
function reached(socket: net.Socket, event: 'connect' | 'data' | 'secureConnect'): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.on('error', reject);
    socket.once('close', () => {
      reject(connectionError('CONNECTION_CLOSED', 'PostgreSQL closed the connection before it was made'));
    });
  });
}

type FailedConnect = Error & { code?: string };

function explained(err: FailedConnect, o: SocketOptions): Error {
  const server = `PostgreSQL at ${o.host}:${o.port}`;
  if (err.name === 'TimeoutError')
    return connectionError('CONNECT_TIMEOUT', `${server} took too long to let us in`);
  if (!o.tls || isTransientDbError(err) || err.code === 'TLS_REFUSED') return err;
  const message = `TLS with ${server} failed: ${err.message}; ${cureOf(err.code)}`;
  return Object.assign(new Error(message, { cause: err }), { code: err.code });
}

function cureOf(code: string | undefined): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'connect by a name that is in its certificate';
  if (code === 'EPROTO' || code?.startsWith('ERR_SSL')) return 'see what its log says';
  return 'see that its certificate is in date, and name the authority that signed it by sslrootcert=PATH';
}
