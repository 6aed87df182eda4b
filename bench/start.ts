import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ancestorsOf, memoryOf } from '../local/memory.ts';
import { ensurePrograms } from '../local/programs/programs.ts';
import { removeRunFolder } from '../local/run-folder.ts';
import { readShopFile, type ShopFile } from '../local/shop-file.ts';
import { machineLine } from './machine.ts';
import { markdown, spread } from './statistics.ts';

const ROUNDS = 5;
const SETTLE_MS = 60_000;

/**
 * `npm run bench -- start`: the time from `npm start` to ready with everything cached, and the memory (PSS) of each
 * process and in total 60 s after ready, runner and npm included; with the reduced daprd and with the full one.
 */
export async function benchStart(): Promise<void> {
  const say = (line: string) => console.error(line);
  const reduced = await ensurePrograms({ progress: say, env: process.env });
  const full = await ensurePrograms({ progress: say, env: process.env, full: true, only: ['daprd'] });
  const variants = [
    { name: 'reduced daprd', daprd: reduced.daprd.path },
    { name: 'full daprd', daprd: full.daprd.path },
  ].map((variant) => ({ ...variant, seconds: [] as number[], memory: new Map<string, number>() }));
  const runDir = mkdtempSync(join(tmpdir(), 'sidecart-bench-'));
  try {
    // One start to fill every cache, then the variants in turn, so that a drift of the machine meets both alike.
    await (await startOnce(runDir, variants[0]?.daprd ?? '')).stop();
    for (let round = 1; round <= ROUNDS; round += 1)
      for (const variant of round % 2 ? variants : [...variants].reverse()) {
        const run = await startOnce(runDir, variant.daprd);
        variant.seconds.push(run.seconds);
        say(`round ${round}, ${variant.name}: ready after ${run.seconds.toFixed(2)} s`);
        if (round === ROUNDS) {
          await sleep(SETTLE_MS);
          variant.memory = await memoryByProcess(runDir);
        }
        await run.stop();
      }
  } finally {
    removeRunFolder(runDir);
  }
  const names = [...new Set(variants.flatMap((variant) => [...variant.memory.keys()]))];
  const mb = (bytes: number | undefined) => (bytes === undefined ? '' : (bytes / 1e6).toFixed(0));
  console.log(`\n${machineLine()}\n`);
  console.log(
    markdown(
      ['from `npm start` to ready, warm, s', ...variants.map((v) => v.name)],
      [[`median of ${ROUNDS} (range)`, ...variants.map((variant) => spread(variant.seconds, 2))]],
    ),
  );
  console.log('');
  console.log(
    markdown(
      ['PSS 60 s after ready, MB', ...variants.map((v) => v.name)],
      [
        ...names.map((name) => [name, ...variants.map((variant) => mb(variant.memory.get(name)))]),
        [
          '**total**',
          ...variants.map((v) => `**${mb([...v.memory.values()].reduce((sum, bytes) => sum + bytes, 0))}**`),
        ],
      ],
    ),
  );
}

async function startOnce(runDir: string, daprd: string): Promise<{ seconds: number; stop(): Promise<void> }> {
  const startedAt = performance.now();
  const child = spawn('npm', ['start'], {
    env: { ...process.env, SIDECART_RUN_DIR: runDir, SIDECART_DAPRD: daprd },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    output += chunk;
  });
  while (!output.includes('npm run demo')) {
    if (child.exitCode !== null) throw new Error(`npm start ended:\n${output}`);
    await sleep(5);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  return { seconds, stop: () => stop(child, runDir) };
}

async function stop(child: ChildProcess, runDir: string): Promise<void> {
  const { pid } = shopIn(runDir);
  const ended = new Promise((done) => child.once('exit', done));
  process.kill(pid, 'SIGTERM');
  await ended;
  if (readShopFile(runDir)) throw new Error('the shop did not stop cleanly');
}

const shopIn = (runDir: string) => readShopFile(runDir) as ShopFile;

async function memoryByProcess(runDir: string): Promise<Map<string, number>> {
  const shop = shopIn(runDir);
  const own = [shop.pid, ...ancestorsOf(shop.pid)];
  const bytes = await memoryOf([...shop.processes.map(({ pid }) => pid), ...own]);
  const memory = new Map(shop.processes.map(({ name }, i) => [name, bytes[i] ?? 0] as const));
  memory.set(
    'runner, with npm',
    bytes.slice(shop.processes.length).reduce((sum, one) => sum + one, 0),
  );
  return memory;
}
