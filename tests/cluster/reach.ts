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
