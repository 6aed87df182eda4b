import { once } from 'node:events';
import net from 'node:net';
import { onTestFinished } from 'vitest';

/** A way to PostgreSQL on which a statement is done and its answer never comes. */
export interface CutProxy {
  /** The database's URL, through the proxy. */
  url: string;
  /**
   * The next statement whose completion begins with this word (`COMMIT`, `INSERT`) is the last thing its connection did: the
   * answer is kept and the connection reset. Resolves when that has happened.
   */
  cutAfter(tag: string): Promise<void>;
  /** Forgets a cut that has not happened. */
  disarm(): void;
  /** The connections that there are stay open, and nothing comes through any more, not even their end: as when a cable is pulled. New ones work. */
  silence(): void;
}

const COMMAND_COMPLETE = 'C'.charCodeAt(0);

/** Closed when the test is over, or by `close` where it is opened for all tests of a file. */
export async function openCutProxy(databaseUrl: string): Promise<CutProxy & { close(): void }> {
  const target = new URL(databaseUrl);
  const sockets = new Set<net.Socket>();
  const muting = new Set<() => void>();
  let armed: { tag: string; done: () => void } | undefined;

  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    const ends = [client, upstream];
    const end = () => {
      for (const socket of ends) {
        socket.destroy();
        sockets.delete(socket);
      }
      muting.delete(mute);
    };
    const mute = () => {
      client.unpipe(upstream);
      for (const socket of ends) socket.removeAllListeners('data').off('close', end).resume();
    };
    muting.add(mute);
    for (const socket of ends) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', end).on('close', end);
    }
    client.pipe(upstream);
    let rest = Buffer.alloc(0);
    upstream.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      let at = 0;
      while (rest.length >= at + 5 && rest.length >= at + 1 + rest.readUInt32BE(at + 1)) {
        const length = 1 + rest.readUInt32BE(at + 1);
        const isCut =
          armed &&
          rest[at] === COMMAND_COMPLETE &&
          rest.toString('latin1', at + 5, at + length).startsWith(armed.tag);
        if (isCut) {
          const { done } = armed as NonNullable<typeof armed>;
          armed = undefined;
          client.resetAndDestroy();
          end();
          return done();
        }
        at += length;
      }
      if (at > 0 && !client.destroyed) client.write(rest.subarray(0, at));
      rest = rest.subarray(at);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as net.AddressInfo).port);
  return {
    url: url.href,
    cutAfter: (tag) =>
      new Promise((done) => {
        armed = { tag, done };
      }),
    disarm() {
      armed = undefined;
    },
    silence() {
      for (const mute of muting) mute();
      muting.clear();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One that is closed when the test is over. */
export async function cutProxy(databaseUrl: string): Promise<CutProxy> {
  const proxy = await openCutProxy(databaseUrl);
  onTestFinished(proxy.close);
  return proxy;
}
