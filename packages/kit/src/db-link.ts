import { EventEmitter } from 'node:events';
import type net from 'node:net';
import { connectionError } from './db-errors.ts';
import { openSocket } from './db-socket.ts';
import type { ServerTls } from './db-url.ts';

/**
 * The part of a socket that postgres.js uses, for one life of one connection.
 *
 * postgres.js 3.4.9 cannot cope with the loss of a connection: a transaction that goes on after it writes to a socket
 * that is `null` and ends the process, bytes that were left over poison the next connection in the same place, and
 * statements of the dead transaction can run inside another one after the reconnect (porsager/postgres #1208, #1215,
 * #1216). All of that starts with the event `close`. So this never emits it: once lost, it stays as a socket on which
 * every write fails, for as long as somebody still holds the connection, and db-pool.ts puts a new one in its place.
 */
export interface Link extends EventEmitter {
  host: string;
  port: number;
  readonly readyState: string;
  write(chunk: Uint8Array, done?: () => void): boolean;
  end(chunk?: Uint8Array): void;
  destroy(): void;
  pause(): void;
  resume(): void;
}

export interface LinkOptions {
  host: string;
  port: number;
  tls?: ServerTls;
  /** A server that owes an answer for longer than this is taken for gone. Above its own statement timeout. */
  answerTimeoutMs: number;
  /** Called once, before the statements under way are rejected. */
  onLost(reason: Error): void;
}

/** Connects; a failure to do so is a loss like any other. What is written meanwhile is sent when the server is reached. */
export function openLink(o: LinkOptions): Link {
  const emitter = new EventEmitter();
  const attempt = new AbortController();
  let socket: net.Socket | undefined;
  let early: { chunk: Uint8Array; done: (() => void) | undefined }[] = [];
  let lost: Error | undefined;
  let watchdog: NodeJS.Timeout | undefined;
  let tail: Buffer = Buffer.alloc(0);
  let lastWords = '';

  function lose(reason: Error): void {
    if (lost) return;
    lost = reason;
    clearTimeout(watchdog);
    attempt.abort(reason);
    socket?.destroy();
    o.onLost(reason);
    emitter.emit('error', reason);
  }
  function expectAnswer(): void {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      lose(connectionError('CONNECTION_TIMEOUT', `PostgreSQL did not answer within ${o.answerTimeoutMs} ms`));
    }, o.answerTimeoutMs);
  }
  function hear(chunk: Buffer): void {
    if (lost) return;
    tail = (chunk.length < 6 ? Buffer.concat([tail, chunk]) : chunk).subarray(-6);
    if (isReadyForQuery(tail)) {
      clearTimeout(watchdog);
      lastWords = '';
    } else {
      expectAnswer();
      lastWords = errorIn(chunk) ?? lastWords;
    }
    emitter.emit('data', chunk);
  }
  function closed(): void {
    lose(
      connectionError(
        'CONNECTION_CLOSED',
        `PostgreSQL closed the connection${lastWords && `: ${lastWords}`}`,
      ),
    );
  }
  function use(opened: net.Socket): void {
    if (lost || opened.destroyed) {
      opened.destroy();
      closed();
      return;
    }
    socket = opened;
    socket.on('data', hear);
    socket.on('drain', () => emitter.emit('drain'));
    socket.on('error', lose);
    socket.on('close', closed);
    for (const { chunk, done } of early) socket.write(chunk, done);
    early = [];
  }
  openSocket({ host: o.host, port: o.port, ...(o.tls && { tls: o.tls }), signal: attempt.signal }).then(
    use,
    lose,
  );

  const own: Omit<Link, keyof EventEmitter> = {
    host: o.host,
    port: o.port,
    get readyState() {
      return lost ? 'closed' : (socket?.readyState ?? 'opening');
    },
    write(chunk, done) {
      if (!lost) {
        expectAnswer();
        if (socket) return socket.write(chunk, done);
        early.push({ chunk, done });
        return true;
      }
      // Not now: postgres.js has still to note what it is writing.
      process.nextTick(() => emitter.emit('error', lost));
      return true;
    },
    end(chunk) {
      clearTimeout(watchdog);
      if (!socket) lose(connectionError('CONNECTION_ENDED', 'The database is closed'));
      else if (chunk) socket.end(chunk);
      else socket.end();
    },
    destroy: () => lose(connectionError('CONNECT_TIMEOUT', 'PostgreSQL took too long to let us in')),
    pause: () => socket?.pause(),
    resume: () => socket?.resume(),
  };
  return Object.defineProperties(emitter, Object.getOwnPropertyDescriptors(own)) as unknown as Link;
}

const ERROR_RESPONSE = 0x45;

/** ReadyForQuery is `Z`, the length 5 and one byte of state: the server owes nothing more. */
function isReadyForQuery(tail: Buffer): boolean {
  return tail.length === 6 && tail[0] === 0x5a && tail.readUInt32BE(1) === 5;
}

/** The field M of the first ErrorResponse, if there is one: what the server says before it hangs up. */
function errorIn(chunk: Buffer): string | undefined {
  for (let at = 0; at + 5 <= chunk.length; at += 1 + chunk.readUInt32BE(at + 1)) {
    if (chunk[at] === ERROR_RESPONSE) return /\0M([^\0]*)/.exec(chunk.subarray(at + 5).toString())?.[1];
  }
  return undefined;
}
