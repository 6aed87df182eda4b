import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../local/ports.ts';

export interface PortForward {
  /** The port on this machine that leads to each port asked for, in their order. It stays the same for the forward's life. */
  ports: number[];
  stop(): void;
}

const AGAIN_AFTER_MS = 300;

/**
 * Leads ports of this machine to those of a pod behind `target` (`service/gateway`, `deployment/orders`), until stopped. kubectl
 * picks one pod and ends when that pod does; then another is picked, so a request may fail in between.
 */
export async function portForward(
  namespace: string,
  target: string,
  remotePorts: number[],
  o: {
    /** Default: the current one. */
    context?: string;
    /** How long the first connection may take, in ms; default 60 000. */
    withinMs?: number;
    /** Chooses a port of this machine; one that is taken before kubectl has it is chosen anew. */
    choosePort?: () => Promise<number>;
  } = {},
): Promise<PortForward> {
  const { withinMs = 60_000, choosePort = freePort } = o;
  const choosePorts = async () => {
    const chosen: number[] = [];
    for (const _ of remotePorts) chosen.push(await choosePort());
    return chosen;
  };
  let ports = await choosePorts();
  let child: ChildProcess | undefined;
  let stopped = false;
  let said = '';

  const once = (whenReady: () => void) =>
    new Promise<void>((ended) => {
      const pairs = remotePorts.map((remote, i) => `${ports[i]}:${remote}`);
      child = spawn(
        'kubectl',
        [
          ...(o.context === undefined ? [] : [`--context=${o.context}`]),
          ...['port-forward', '-n', namespace, '--address', '127.0.0.1', target, ...pairs],
        ],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      let forwarded = 0;
      said = '';
      if (child.stdout)
        createInterface(child.stdout).on('line', (line) => {
          if (line.startsWith('Forwarding from') && ++forwarded === pairs.length) whenReady();
        });
      child.stderr?.on('data', (chunk) => {
        said += chunk;
        // kubectl stays when the pod behind it is gone, and every further connection fails; and when one of several ports is
        // somebody else's, with the rest of them.
        if (/lost connection to pod|error forwarding port|unable to listen on port/i.test(said))
          child?.kill();
      });
      child.on('error', (err) => {
        said = err.message;
        ended();
      });
      child.on('close', () => ended());
    });

  await new Promise<void>((ready, fail) => {
    const patience = setTimeout(() => {
      stop();
      fail(new Error(`no port-forward to ${target} within ${withinMs} ms: ${said}`));
    }, withinMs);
    void (async () => {
      let isReady = false;
      while (!stopped) {
        await once(() => {
          isReady = true;
          clearTimeout(patience);
          ready();
        });
        await sleep(AGAIN_AFTER_MS);
        // Somebody else took one between the choice and kubectl; nobody knows them yet.
        if (!isReady && /address already in use/.test(said)) ports = await choosePorts();
      }
    })();
  });

  function stop() {
    stopped = true;
    child?.kill();
  }
  return { ports, stop };
}
