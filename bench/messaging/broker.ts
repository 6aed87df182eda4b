import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { natsCommand, natsUrl } from '../../local/nats.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { supervise } from '../../local/supervisor.ts';
import { withBroker } from '../../platform/streams.ts';
import { startRig } from '../rig.ts';
import type { BrokerPlace } from './cell.ts';

/** NATS with the shop's settings, two sidecars, and the receiving service behind the second of them. */
export interface BrokerRig {
  place: BrokerPlace;
  /** Ids of the processes that are in a message's way, by what they are. */
  processes(): Record<string, number>;
  stop(): Promise<void>;
}

const PASSWORD = 'bench';
/** As many as the shop's busy topics have. */
const LANES = 2;

export async function startBroker(folder: string): Promise<BrokerRig> {
  const { natsServer } = await ensurePrograms({
    env: process.env,
    progress: () => {},
    only: ['natsServer'],
  });
  const port = await freePort();
  const natsFolder = join(folder, 'nats');
  mkdirSync(natsFolder, { recursive: true });
  const brokerUrl = natsUrl(port, PASSWORD);
  const nats = supervise(
    {
      name: 'nats',
      logFile: join(folder, 'nats.log'),
      command: () => natsCommand({ program: natsServer.path, folder: natsFolder, port, password: PASSWORD }),
      probe: () => withBroker(brokerUrl, async (jsm) => void (await jsm.getAccountInfo())),
      rank: 2,
      stopSignal: 'SIGTERM',
      graceMs: 10_000,
    },
    { ledger: { add() {}, remove() {}, entries: () => [], close() {} }, say: (text) => console.error(text) },
  );
  await nats.start();
  try {
    const rig = await startRig(folder, { brokerUrl, callee: 'bench/messaging/receiver.ts', lanes: LANES });
    return {
      place: { publishUrl: rig.publish.url, headers: rig.publish.headers, receiverUrl: rig.calleeUrl },
      processes() {
        const pids = rig.processes();
        return {
          receiver: pids['bench-callee'] ?? 0,
          'sending sidecar': pids['bench-caller-dapr'] ?? 0,
          'receiving sidecar': pids['bench-callee-dapr'] ?? 0,
          NATS: nats.pid,
        };
      },
      async stop() {
        await rig.stop();
        await nats.end();
      },
    };
  } catch (err) {
    await nats.end();
    throw err;
  }
}
