import { EventEmitter } from 'node:events';
import net from 'node:net';

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
  setKeepAlive(on: boolean, delayMs: number): void;
  pause(): void;
  resume(): void;
}

export interface LinkOptions {
  host: string;
  port: number;
  /** A server that owes an answer for longer than this is taken for gone. Above its own statement timeout. */
  answerTimeoutMs: number;
  /** Called once, before the statements under way are rejected. */
  onLost(reason: Error): void;
}

/** Connects; a failure to do so is a loss like any other. */
export function openLink(o: LinkOptions): Link {
  const socket = net.connect({ host: o.host, port: o.port, noDelay: true });
  const emitter = new EventEmitter();
  let lost: Error | undefined;
  let watchdog: NodeJS.Timeout | undefined;
  let tail: Buffer = Buffer.alloc(0);
  let lastWords = '';

  function lose(reason: Error): void {
    if (lost) return;
    lost = reason;
    clearTimeout(watchdog);
    socket.destroy();
    o.onLost(reason);
    emitter.emit('error', reason);
  }
  function expectAnswer(): void {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      lose(connectionError('CONNECTION_TIMEOUT', `PostgreSQL did not answer within ${o.answerTimeoutMs} ms`));
    }, o.answerTimeoutMs);
  }

  socket.on('data', (chunk: Buffer) => {
    if (lost) return;
    tail = (chunk.length < 6 ? Buffer.concat([tail, chunk]) : chunk).subarray(-6);
    if (isReadyForQuery(tail)) clearTimeout(watchdog);
    else expectAnswer();
    if (chunk[0] === ERROR_RESPONSE) lastWords = messageOf(chunk);
    emitter.emit('data', chunk);
  });
  socket.on('drain', () => emitter.emit('drain'));
  socket.on('error', lose);
  socket.on('close', () => {
    lose(
      connectionError(
        'CONNECTION_CLOSED',
        `PostgreSQL closed the connection${lastWords && `: ${lastWords}`}`,
      ),
    );
  });

  const own: Omit<Link, keyof EventEmitter> = {
    host: o.host,
    port: o.port,
    get readyState() {
      return lost ? 'closed' : socket.readyState;
    },
    write(chunk, done) {
      if (!lost) {
        expectAnswer();
        return socket.write(chunk, done);
      }
      // Not now: postgres.js has still to note what it is writing.
      process.nextTick(() => emitter.emit('error', lost));
      return true;
    },
    end(chunk) {
      clearTimeout(watchdog);
      if (chunk) socket.end(chunk);
      else socket.end();
    },
    destroy: () => lose(connectionError('CONNECT_TIMEOUT', 'PostgreSQL took too long to let us in')),
    setKeepAlive: (on, delayMs) => socket.setKeepAlive(on, delayMs),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
  return Object.defineProperties(emitter, Object.getOwnPropertyDescriptors(own)) as unknown as Link;
}

/** An error of the form that kit/db-errors knows as transient. */
export function connectionError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

const ERROR_RESPONSE = 0x45;

/** ReadyForQuery is `Z`, the length 5 and one byte of state: the server owes nothing more. */
function isReadyForQuery(tail: Buffer): boolean {
  return tail.length === 6 && tail[0] === 0x5a && tail.readUInt32BE(1) === 5;
}

/** The field M of an ErrorResponse: what the server says before it hangs up. */
function messageOf(chunk: Buffer): string {
  return /\0M([^\0]*)/.exec(chunk.subarray(5).toString())?.[1] ?? '';
}
