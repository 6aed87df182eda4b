import { kubectl } from './kubectl.ts';

/** Which of the addresses (`host:port`) a container can open a TCP connection to, tried from inside of it. */
export async function reachable(
  namespace: string,
  pod: string,
  addresses: string[],
): Promise<Record<string, boolean>> {
  const program = `
    const { connect } = require('node:net');
    const tries = process.argv.slice(1).map((address) => new Promise((done) => {
      const [host, port] = address.split(':');
      const socket = connect({ host, port: Number(port), timeout: 3000 });
      const end = (open) => { socket.destroy(); done([address, open]); };
      socket.on('connect', () => end(true)).on('error', () => end(false)).on('timeout', () => end(false));
    }));
    Promise.all(tries).then((all) => console.log(JSON.stringify(Object.fromEntries(all))));
  `;
  const inside = ['exec', '-n', namespace, pod, '-c', 'app', '--', 'node', '--eval', program, ...addresses];
  return JSON.parse(await kubectl(inside));
}

/**
 * What a server (`host:port`) says to a client that connects without TLS and sends `hello`, tried from inside of a container: all
 * of it, until the server ends the connection or is silent for two seconds.
 */
export async function answerTo(
  namespace: string,
  pod: string,
  address: string,
  hello: string,
): Promise<string> {
  const program = `
    const { connect } = require('node:net');
    const [host, port] = process.argv[1].split(':');
    const socket = connect({ host, port: Number(port), timeout: 2000 });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => { text += chunk; });
    socket.on('timeout', () => socket.destroy()).on('close', () => { process.stdout.write(JSON.stringify(text)); process.exit(); });
    socket.on('error', (err) => { text += err.code; });
    process.stdin.pipe(socket, { end: false });
  `;
  // By its standard input: what it says may have a password in it.
  const inside = ['exec', '-i', '-n', namespace, pod, '-c', 'app', '--', 'node', '--eval', program, address];
  return JSON.parse(await kubectl(inside, { input: hello }));
}
