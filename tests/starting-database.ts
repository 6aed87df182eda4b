import { once } from 'node:events';
import net from 'node:net';

/**
 * Answers on the port of a PostgreSQL that is not there as one that is just starting: it lets nobody in, says so, and hangs up. A real one
 * does that for as long as it has to recover, which is minutes after a busy day and milliseconds in a test.
 */
export async function startingDatabase(port: number): Promise<{ asked(): number; stop(): Promise<void> }> {
  let asked = 0;
  const server = net.createServer((socket) => {
    socket.on('error', () => {}); // whoever asks may give up first
    socket.once('data', () => {
      asked += 1;
      socket.end(errorResponse('SFATAL', 'VFATAL', 'C57P03', 'Mthe database system is starting up'));
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    asked: () => asked,
    async stop() {
      server.close();
      await once(server, 'close');
    },
  };
}

function errorResponse(...fields: string[]): Buffer {
  const body = Buffer.from(`${fields.join('\0')}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
