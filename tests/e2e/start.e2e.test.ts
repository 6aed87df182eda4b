import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../../generator/topology.ts';
import { removeRunFolder } from '../../local/run-folder.ts';
import { BROKER, call, productWithStock, SERVICES, sleep, until } from './shop.ts';

/** The runner as a user starts it: its own process, its output, its signals. */
interface Runner {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
}

const running: Runner[] = [];
const folders: string[] = [];

const start = (runDir: string, ...args: string[]) => startIn(process.cwd(), runDir, ...args);

function startIn(cwd: string, runDir: string, ...args: string[]): Runner {
  const broker = BROKER ? ['--broker', BROKER] : [];
  const child = spawn(process.execPath, ['local/bootstrap.mjs', 'local/start.ts', ...broker, ...args], {
    cwd,
    env: { ...process.env, SIDECART_RUN_DIR: runDir },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  child.stdout?.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    text += chunk;
  });
  const runner = {
    child,
    output: () => text,
    ended: new Promise<number | null>((done) => child.on('exit', done)),
  };
  running.push(runner);
  return runner;
}

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sidecart-start-'));
  folders.push(dir);
  return dir;
}

interface ShopFile {
  gatewayUrl: string;
  pid: number;
  processes: { name: string; pid: number }[];
}
const shopFile = (runDir: string) => JSON.parse(readFileSync(join(runDir, 'shop.json'), 'utf8')) as ShopFile;
const ready = (runner: Runner, runDir: string) =>
  until(
    `the shop to be ready; so far it said:\n${runner.output()}`,
    async () => {
      if (runner.child.exitCode !== null) throw new Error(`ended: ${runner.output()}`);
      return (
        existsSync(join(runDir, 'shop.json')) && runner.output().includes('npm run demo') && shopFile(runDir)
      );
    },
    120_000,
    100,
  );

/** Alive and not a zombie that only waits to be reaped. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const filesBelow = (dir: string) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((file) => join(file.parentPath, file.name));

const interrupt = async (runner: Runner) => {
  runner.child.kill('SIGINT');
  return runner.ended;
};

afterEach(async () => {
  for (const runner of running.splice(0)) if (runner.child.exitCode === null) await interrupt(runner);
  for (const dir of folders.splice(0)) removeRunFolder(dir);
});

describe('npm start', () => {
  test('says what runs, keeps its secrets to its owner, stops in the right order on Ctrl-C, leaves nothing, and finds its data again', async () => {
    const runDir = await folder();
    const first = start(runDir);
    const shop = await ready(first, runDir);
    for (const word of [...SERVICES, 'npm run demo', shop.gatewayUrl]) expect(first.output()).toContain(word);
    const sku = await productWithStock(shop.gatewayUrl, 3);
    const pids = shop.processes.map((process) => process.pid);
    expect(pids.length).toBeGreaterThanOrEqual(15);
    expect(pids.every(alive)).toBe(true);
    const secrets = filesBelow(join(runDir, 'secrets'));
    expect(secrets.length).toBeGreaterThan(0);
    for (const file of secrets) expect(statSync(file).mode & 0o077).toBe(0);

    const stoppedAt = first.output().length;
    expect(await interrupt(first)).toBe(0);
    expect(pids.filter(alive)).toEqual([]);
    const farewell = first.output().slice(stoppedAt);
    expect(farewell).not.toContain('!'); // the mark of what went wrong
    const broker = shop.processes.find(({ name }) => name === 'nats' || name === 'redis')?.name ?? '';
    const order = ['orders', 'orders-dapr', 'sentry', broker, 'postgres'].map((name) =>
      farewell.search(new RegExp(`stopped\\s+${name}\\b(?!-)`)),
    );
    expect(order.every((at) => at >= 0)).toBe(true);
    expect([...order].sort((a, b) => a - b)).toEqual(order);

    const second = start(runDir);
    const again = await ready(second, runDir);
    expect((await call(again.gatewayUrl, 'GET', `/v1/stock/${sku}`)).body).toMatchObject({ on_hand: 3 });
    await interrupt(second);

    const third = start(runDir, '--fresh');
    const fresh = await ready(third, runDir);
    expect((await call(fresh.gatewayUrl, 'GET', `/v1/stock/${sku}`)).status).toBe(404);
  }, 240_000);

  test('after a SIGKILL of the runner ends its own orphans and nothing else; a second runner beside a living one is refused', async () => {
    const runDir = await folder();
    const bystander = spawn('sleep', ['300']);
    const first = start(runDir);
    const shop = await ready(first, runDir);

    const beside = start(runDir);
    expect(await beside.ended).not.toBe(0);
    expect(beside.output()).toContain(String(shop.pid));

    process.kill(shop.pid, 'SIGKILL');
    await first.ended;
    await sleep(300);
    const orphans = shop.processes.map((process) => process.pid);
    expect(orphans.some(alive)).toBe(true);
    const second = start(runDir);
    await ready(second, runDir);
    expect(orphans.filter(alive)).toEqual([]);
    expect(alive(bystander.pid ?? 0)).toBe(true);
    bystander.kill();
  }, 240_000);

  test('a process that dies is restarted, and said so; a closed terminal stops everything', async () => {
    const runDir = await folder();
    const runner = start(runDir);
    const shop = await ready(runner, runDir);
    const orders = shop.processes.find((process) => process.name === 'orders');
    process.kill(orders?.pid as number, 'SIGKILL');
    await until('the restart to be said', async () => /orders.*(died|ended).*restart/i.test(runner.output()));
    await until(
      'orders to answer again',
      async () => (await call(shop.gatewayUrl, 'GET', '/v1/orders')).status === 200,
      60_000,
    );
    const pids = shopFile(runDir).processes.map((process) => process.pid);
    runner.child.stdout?.destroy();
    runner.child.stderr?.destroy();
    runner.child.kill('SIGHUP');
    await runner.ended;
    expect(pids.filter(alive)).toEqual([]);
  }, 240_000);

  test('a template of the broker that is no YAML is told with its line and the cure, and what was started ends', async () => {
    const checkout = await folder();
    const notCopied = ['.git', '.run', '.cache', 'node_modules'].map((name) => join(process.cwd(), name));
    cpSync(process.cwd(), checkout, { recursive: true, filter: (from) => !notCopied.includes(from) });
    symlinkSync(join(process.cwd(), 'node_modules'), join(checkout, 'node_modules'));
    const template = `components/brokers/${BROKER ?? loadTopology('topology.yaml').broker}.yaml`;
    writeFileSync(join(checkout, template), readFileSync(template, 'utf8').replace('\nspec:\n', '\nspec\n'));
    const runner = startIn(checkout, join(checkout, '.run'));
    expect(await runner.ended).toBe(1);
    expect(runner.output()).toMatch(new RegExp(`^${template}, line \\d+: no valid YAML: .*\nCure: `, 'm'));
    expect(runner.output()).not.toMatch(/^\s+at /m);
  }, 60_000);

  test('two checkouts run side by side', async () => {
    const [one, two] = [await folder(), await folder()];
    const first = start(one);
    const second = start(two);
    const shops = [await ready(first, one), await ready(second, two)];
    expect(shops[0]?.gatewayUrl).not.toBe(shops[1]?.gatewayUrl);
    const sku = await productWithStock(shops[0]?.gatewayUrl ?? '', 1);
    expect((await call(shops[1]?.gatewayUrl ?? '', 'GET', `/v1/products/${sku}`)).status).toBe(404);
  }, 240_000);
});
