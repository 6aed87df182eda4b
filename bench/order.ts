import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { removeRunFolder } from '../local/run-folder.ts';
import { type Shop, startShop } from '../local/shop.ts';
import { cpuSeconds, machineLine, now } from './machine.ts';
import { type Rig, startRig } from './rig.ts';
import { markdown, median, percentile, spread } from './statistics.ts';

const ROUNDS = 5;
const IN_FLIGHT = [1, 8, 32];
const SKUS = 64;
/** What the way of an order is made of. */
const PARTS = ['echo through two sidecars', 'publish', 'publish to delivery', 'one-row commit'];
const PRICE = { amount: 250, currency: 'GBP' };

interface Cell {
  /** Milliseconds each. */
  samples: number[];
  seconds: number;
  cpuSeconds: number;
}

/** `everyMs`: one at a time and not one after the other, but begun so far apart. */
type Arm = (inFlight: number, ms: number, everyMs?: number) => Promise<Cell>;

/**
 * `npm run bench -- order`: POST at the gateway to the commit of `confirmed`, beside the parts of its way, each bare and
 * in the same run, in a rotating order. The parts are measured twice: in a closed loop like everything else, and at the
 * pace at which one order after the other uses them, as a process that slept for 10 ms is slower than one that never
 * slept. An order's end is read from PostgreSQL's commit timestamps, so finding out costs
 * the latency nothing. A cell of orders counts only if every one of them was confirmed and the stock moved once.
 */
export async function benchOrder(): Promise<void> {
  const cellMs = process.argv.includes('--full') ? 30_000 : 4_000;
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-bench-'));
  const runDir = join(folder, 'shop');
  const shop = await startShop({ runDir });
  let rig: Rig | undefined;
  const leave = async () => {
    await rig?.stop();
    await shop.stop();
    removeRunFolder(runDir);
    rmSync(folder, { recursive: true, force: true });
  };
  // Ctrl-C in the middle of it leaves nothing behind either.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void leave().then(() => process.exit(130)));
  try {
    await keepCommitTimes(shop);
    rig = await startRig(join(folder, 'rig'), { brokerUrl: shop.brokerUrl });
    const arms = await makeArms(shop, rig);
    const results = new Map<string, Cell[]>();
    for (const name of Object.keys(arms)) await arms[name]?.(8, 1_500); // warm
    for (let round = 0; round < ROUNDS; round += 1)
      for (const inFlight of IN_FLIGHT) {
        const names = Object.keys(arms);
        for (let i = 0; i < names.length; i += 1) {
          const name = names[(i + round) % names.length] as string;
          const cell = await (arms[name] as Arm)(inFlight, cellMs);
          const key = `${name}@${inFlight}`;
          results.set(key, [...(results.get(key) ?? []), cell]);
          tell(round, key, cell);
        }
      }
    for (let round = 0; round < ROUNDS; round += 1)
      for (const part of PARTS) {
        const everyMs = median(results.get('order@1')?.[round]?.samples ?? []);
        const cell = await (arms[part] as Arm)(1, cellMs, everyMs);
        results.set(`${part}@pace`, [...(results.get(`${part}@pace`) ?? []), cell]);
        tell(round, `${part}@pace`, cell);
      }
    report(results, cellMs);
  } finally {
    await leave();
  }
}

function tell(round: number, key: string, cell: Cell): void {
  const rate = (cell.samples.length / cell.seconds).toFixed(0);
  console.error(`round ${round + 1}, ${key}: ${rate}/s, p50 ${median(cell.samples).toFixed(2)} ms`);
}

/** From the next start on PostgreSQL notes when each transaction was committed. */
async function keepCommitTimes(shop: Shop): Promise<void> {
  const sql = postgres(shop.adminUrl('postgres'), { max: 1 });
  await sql`ALTER SYSTEM SET track_commit_timestamp = on`;
  await sql.end();
  await shop.find('postgres').hold();
  await shop.find('postgres').release();
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

function post(
  url: string,
  headers: Record<string, string>,
  body: string,
): Promise<{ status: number; text: string }> {
  return new Promise((done, fail) => {
    const req = httpRequest(
      url,
      {
        method: 'POST',
        agent,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          ...headers,
        },
      },
      (res) => {
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk) => {
          text += chunk;
        });
        res.on('end', () => done({ status: res.statusCode ?? 0, text }));
        res.on('error', fail);
      },
    );
    req.on('error', fail);
    req.end(body);
  });
}

/** Runs `once` with so many at a time until the time is over; a failed one ends the benchmark. */
async function closedLoop(
  inFlight: number,
  ms: number,
  once: () => Promise<number>,
  everyMs = 0,
): Promise<Omit<Cell, 'cpuSeconds'>> {
  const samples: number[] = [];
  const startedAt = performance.now();
  const worker = async () => {
    while (performance.now() - startedAt < ms) {
      const begunAt = performance.now();
      samples.push(await once());
      if (everyMs > 0) await sleep(Math.max(0, begunAt + everyMs - performance.now()));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return { samples, seconds: (performance.now() - startedAt) / 1000 };
}

async function makeArms(shop: Shop, rig: Rig): Promise<Record<string, Arm>> {
  const orders = await orderArm(shop);
  const simple =
    (once: () => Promise<void>): Arm =>
    async (inFlight, ms, everyMs) => ({
      ...(await closedLoop(
        inFlight,
        ms,
        async () => {
          const startedAt = performance.now();
          await once();
          return performance.now() - startedAt;
        },
        everyMs,
      )),
      cpuSeconds: 0,
    });
  const body = JSON.stringify({
    lines: [{ sku: 'X'.repeat(8), quantity: 1, unit_price: PRICE }],
    filler: 'x'.repeat(150),
  });
  const expect200 = async (url: string, headers: Record<string, string>) => {
    const { status, text } = await post(url, headers, body);
    if (status !== 200) throw new Error(`${url} answered ${status}: ${text}`);
  };
  const event = (id: string) =>
    JSON.stringify({
      specversion: '1.0',
      id,
      source: '/bench',
      type: 'Bench',
      datacontenttype: 'application/json',
      data: { filler: 'x'.repeat(400) },
    });
  const publish = async (id: string) => {
    const { status, text } = await post(rig.publish.url, rig.publish.headers, event(id));
    if (status !== 204) throw new Error(`publish answered ${status}: ${text}`);
  };
  const sql = postgres(shop.adminUrl('postgres'), { max: 32, onnotice: () => {} });
  await sql`CREATE TABLE IF NOT EXISTS bench_commit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, filler text)`;
  return {
    order: orders,
    'Hono echo': simple(() => expect200(`${rig.echoUrl}/echo`, {})),
    'echo through two sidecars': simple(() => expect200(rig.hop.url, rig.hop.headers)),
    publish: simple(() => publish(randomUUID())),
    'publish to delivery': async (inFlight, ms, everyMs) => {
      const sent = new Map<string, number>();
      const send = async () => {
        const id = randomUUID();
        sent.set(id, now());
        await publish(id);
        return 0;
      };
      const loop = await closedLoop(inFlight, ms, send, everyMs);
      const samples = await arrivalsOf(rig, sent);
      return { samples, seconds: loop.seconds, cpuSeconds: 0 };
    },
    'one-row commit': simple(async () => {
      await sql`INSERT INTO bench_commit (filler) VALUES (${'x'.repeat(200)})`;
    }),
  };
}

async function arrivalsOf(rig: Rig, sent: Map<string, number>): Promise<number[]> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const arrivals = await rig.arrivals();
    const samples = [...sent].map(([id, at]) => (arrivals[id] ?? Number.NaN) - at);
    if (!samples.some(Number.isNaN)) return samples;
    await sleep(100);
  }
  throw new Error('not every published message was delivered');
}

async function orderArm(shop: Shop): Promise<Arm> {
  const url = shop.gatewayUrl;
  const skus = Array.from({ length: SKUS }, (_, i) => `BENCH-${i}`);
  for (const sku of skus) await created(`${url}/v1/products`, { sku, name: sku, unit_price: PRICE });
  const lines = skus.map((sku) => ({ sku, quantity: 100_000 }));
  for (let attempt = 0; ; attempt += 1) {
    const { status, text } = await post(
      `${url}/v1/stock/receipts`,
      { 'idempotency-key': 'bench' },
      JSON.stringify({ lines }),
    );
    if (status === 201) break;
    if (attempt > 100) throw new Error(`stock was not received: ${text}`);
    await sleep(100);
  }
  const sql = postgres(shop.adminUrl('orders'), { max: 1, onnotice: () => {} });
  const stock = postgres(shop.adminUrl('inventory'), { max: 1, onnotice: () => {} });
  let placed = 0;

  return async (inFlight, ms) => {
    const waiting = new Map<string, (committedAt: number) => void>();
    let over = false;
    const look = async () => {
      while (!over) {
        if (waiting.size > 0)
          for (const row of await sql<{ id: string; type: string; at: number }[]>`
            SELECT stream_id AS id, type, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000 AS at
              FROM events WHERE stream_id = ANY(${[...waiting.keys()]})
                AND type IN ('OrderConfirmed', 'OrderRejected', 'OrderCancelled')`) {
            if (row.type !== 'OrderConfirmed') throw new Error(`order ${row.id}: ${row.type}`);
            waiting.get(row.id)?.(row.at);
            waiting.delete(row.id);
          }
        await sleep(4);
      }
    };
    const toServerTime = await clockOffset(sql);
    const cpuBefore = shopCpu(shop);
    const looking = look();
    const loop = await closedLoop(inFlight, ms, async () => {
      const sku = skus[Math.floor(Math.random() * SKUS)];
      const startedAt = now();
      const { status, text } = await post(
        `${url}/v1/orders`,
        { 'idempotency-key': randomUUID() },
        JSON.stringify({ lines: [{ sku, quantity: 1, unit_price: PRICE }] }),
      );
      if (status !== 201) throw new Error(`an order was answered ${status}: ${text}`);
      const id = (JSON.parse(text) as { id: string }).id;
      const committedAt = await new Promise<number>((done) => waiting.set(id, done));
      return committedAt - (startedAt + toServerTime);
    });
    over = true;
    await looking;
    const cpu = shopCpu(shop) - cpuBefore;
    placed += loop.samples.length;
    await exact(stock, placed);
    return { ...loop, cpuSeconds: cpu };
  };
}

/** What to add to our clock to have the server's, which commits are stamped with: the quickest of several questions. */
async function clockOffset(sql: postgres.Sql): Promise<number> {
  let best = { took: Number.POSITIVE_INFINITY, offset: 0 };
  for (let i = 0; i < 50; i += 1) {
    const before = now();
    const [row] = await sql<
      { at: number }[]
    >`SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS at`;
    const took = now() - before;
    if (row && took < best.took) best = { took, offset: row.at - (before + took / 2) };
  }
  return best.offset;
}

const shopCpu = (shop: Shop) => shop.processes().reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);

/** The ledger: each order took one unit, once, and nothing is left half-way. */
async function exact(stock: postgres.Sql, placed: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const [row] = await stock<{ committed: number; reserved: number; off: number }[]>`
      SELECT sum(committed)::int AS committed, sum(reserved)::int AS reserved,
             count(*) FILTER (WHERE received <> on_hand + reserved + committed)::int AS off FROM stock`;
    if (row && row.committed === placed && row.reserved === 0 && row.off === 0) return;
    await sleep(100);
  }
  throw new Error(`the books do not balance after ${placed} orders: the cell does not count`);
}

async function created(url: string, body: object): Promise<void> {
  const { status, text } = await post(url, {}, JSON.stringify(body));
  if (status !== 201 && status !== 200) throw new Error(`${url} answered ${status}: ${text}`);
}

function report(results: Map<string, Cell[]>, cellMs: number): void {
  const cells = (name: string, load: number | string) => results.get(`${name}@${load}`) ?? [];
  const p = (name: string, load: number | string, share: number) =>
    median(cells(name, load).map((cell) => percentile(cell.samples, share)));
  const names = [...new Set([...results.keys()].map((key) => key.split('@')[0] as string))];
  console.log(
    `\n${machineLine()}; ${ROUNDS} rounds of ${cellMs / 1000} s a cell, median of the rounds (range)\n`,
  );
  console.log(
    markdown(
      ['', 'in flight', 'p50, ms', 'p99, ms', 'per second', 'shop CPU s per 1000'],
      names.flatMap((name) =>
        [...IN_FLIGHT, 'pace'].flatMap((load) => {
          const all = cells(name, load);
          if (all.length === 0) return [];
          const count = all.reduce((sum, cell) => sum + cell.samples.length, 0);
          const cpu = all.reduce((sum, cell) => sum + cell.cpuSeconds, 0);
          const row = [
            name,
            load === 'pace' ? '1 per order' : String(load),
            spread(
              all.map((cell) => percentile(cell.samples, 0.5)),
              2,
            ),
            spread(
              all.map((cell) => percentile(cell.samples, 0.99)),
              2,
            ),
            spread(
              all.map((cell) => cell.samples.length / cell.seconds),
              0,
            ),
            cpu > 0 ? ((cpu / count) * 1000).toFixed(2) : '',
          ];
          return [row];
        }),
      ),
    ),
  );
  // The way of an order to `confirmed`: the calls to orders, to products and to the provider; a command and its answer, to inventory and
  // to payments; one commit where each of them is written or handled, and two for the question to the provider.
  const sum = (publish: string, load: number | string) =>
    3 * p('echo through two sidecars', load, 0.5) +
    4 * p(publish, load, 0.5) +
    7 * p('one-row commit', load, 0.5);
  const order = { p50: p('order', 1, 0.5), p99: p('order', 1, 0.99) };
  const ways = [
    { label: '3 hops + 4 publishes + 7 commits', publish: 'publish' },
    { label: 'the same with publish to delivery', publish: 'publish to delivery' },
  ];
  console.log('');
  console.log(
    markdown(
      ['order at 1 in flight, parts', 'sum of the parts, ms', 'order p50 / sum', 'order p99 / sum'],
      ['pace', 1].flatMap((load) =>
        ways.map(({ label, publish }) => {
          const parts = sum(publish, load);
          return [
            `${load === 'pace' ? 'at the pace of orders' : 'in a closed loop'}: ${label}`,
            parts.toFixed(2),
            (order.p50 / parts).toFixed(2),
            (order.p99 / parts).toFixed(2),
          ];
        }),
      ),
    ),
  );
}
