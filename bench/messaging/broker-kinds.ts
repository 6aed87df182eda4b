import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { newTraceparent } from '@sidecart/kit/context';
import { createDapr } from '@sidecart/kit/dapr';
import { uuidv7 } from '@sidecart/kit/ids';
import { buildEnvelope } from '@sidecart/messaging/envelope';
import { createMessagingTables } from '@sidecart/messaging/testing';
import { shares, warmMs } from '../cells/cell-child.ts';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { BENCH_TYPE, TOPIC } from './bench-catalog.ts';
import {
  BUSINESS_NOTE,
  BUSINESS_TABLE,
  business,
  businessTransaction,
  countRows,
  writerPool,
} from './business.ts';
import { BATCH, BROKER_ARMS, type CellJob, WRITERS } from './cell.ts';
import { execute } from './cell-kinds.ts';
import { createLedger, type Ledger, type Message } from './ledger.ts';
import { ownService } from './own-service.ts';
import { createWriting, type Writing } from './writers.ts';

type BrokerJob = Extract<CellJob, { kind: 'broker' }>;

/** What the relay has in flight at most, and so the bare sidecar too. */
const IN_FLIGHT = 16;
const WINDOW = 500;
const DRAIN_MS = 60_000;

interface Sender {
  write(messages: Message[]): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  waiting(): Promise<number>;
}

/** Messages through the sidecar, the broker and the other sidecar to the effect, or to a bare answer. */
export async function throughBroker(job: BrokerJob, mark: Mark): Promise<CellOutcome> {
  const [first, , , besideLong] = BROKER_ARMS;
  const long = job.arm === besideLong;
  const own = job.arm === first || long;
  await execute(job.url, BUSINESS_TABLE);
  if (own) for (const url of [job.url, job.receiverDatabase]) await createMessagingTables(url);
  await post(`${job.place.receiverUrl}/open`, {}, JSON.stringify(own ? { url: job.receiverDatabase } : {}));
  const ledger = createLedger({ ordered: false });
  const stopListening = await listen(job.place.receiverUrl, ledger);
  const sender = own ? ownSender(job) : bareSender(job);
  const options = { ledger, ordered: false, perTransaction: 1, write: sender.write };
  const writing = createWriting({ ...options, timedFrom: own ? 'commit' : 'begin' });
  if (long) await writing.longKey(job.rows);
  const measured = await measure(job, { own, ledger, sender, writing, mark });
  if (!long) await downTo(0, ledger);
  await sender.stop();
  const left = await sender.waiting();
  await downTo(left, ledger);
  stopListening();
  return { ...measured, faults: ledger.verdict(left), ...(left > 0 && { left }) };
}

async function downTo(outstanding: number, ledger: Ledger): Promise<void> {
  for (const endAt = now() + DRAIN_MS; ledger.outstanding() > outstanding && now() < endAt; ) await sleep(10);
}

interface Parts {
  own: boolean;
  ledger: Ledger;
  sender: Sender;
  writing: Writing;
  mark: Mark;
}

async function measure(
  job: BrokerJob,
  { own, ledger, sender, writing, mark }: Parts,
): Promise<Omit<CellOutcome, 'faults'>> {
  if (job.load === 'backlog') return drain(job, { own, ledger, sender, writing, mark });
  await sender.start();
  const stop = new AbortController();
  const writers = own ? WRITERS : IN_FLIGHT;
  const loads =
    job.load === 'writers'
      ? writing.closedLoop({ writers, window: WINDOW, stop: stop.signal })
      : writing.paced({ perSecond: job.perSecond, stop: stop.signal });
  await Promise.race([sleep(warmMs(job.ms)), loads]);
  await mark('begin');
  const [from, before] = [now(), ledger.handledCount()];
  await Promise.race([sleep(job.ms), loads]);
  const [until, after] = [now(), ledger.handledCount()];
  await mark('end');
  stop.abort();
  await loads;
  // Those of the end are still on their way; they count as the others do.
  for (const endAt = now() + DRAIN_MS; ledger.unhandled(from, until) > 0 && now() < endAt; ) await sleep(10);
  const latencies = shares(ledger.latencies(from, until));
  return { count: after - before, seconds: (until - from) / 1000, latencies };
}

/** So many messages that lie in the outbox before the relay starts; bare, as fast as the sidecar takes them. */
async function drain(
  job: BrokerJob,
  { own, ledger, sender, writing, mark }: Parts,
): Promise<Omit<CellOutcome, 'faults'>> {
  let left = job.rows;
  const each = own ? BATCH : 1;
  const writer = async () => {
    while (left > 0) {
      left -= each;
      await writing.transaction(each);
    }
  };
  const writeAll = () => Promise.all(Array.from({ length: own ? 1 : IN_FLIGHT }, writer));
  if (own) await writeAll();
  await mark('begin');
  const from = now();
  await sender.start();
  if (!own) await writeAll();
  while (ledger.outstanding() > 0 && now() - from < DRAIN_MS + job.ms) await sleep(5);
  const seconds = (now() - from) / 1000;
  await mark('end');
  return { count: ledger.handledCount(), seconds };
}

function ownSender(job: BrokerJob): Sender {
  const { publishUrl, headers } = job.place;
  const dapr = createDapr({
    httpPort: Number(new URL(publishUrl).port),
    apiToken: headers['dapr-api-token'] ?? '',
  });
  const service = { url: job.url, writers: WRITERS, dapr, ordered: false, handled: () => {} };
  const { database, outbox, workers } = ownService(service);
  return {
    write: (messages) =>
      database.db.transaction(async (tx) => {
        const change = tx.insert(business).values({ customer: messages[0]?.key ?? '', note: BUSINESS_NOTE });
        const facts = messages.map((data) => ({ type: BENCH_TYPE, data }) as const);
        // Independent statements go together, as in the services.
        await Promise.all([change, outbox.publish(tx, ...facts)]);
      }),
    async start() {
      for (const worker of workers) await worker.start();
    },
    async stop() {
      for (const worker of workers) await worker.stop();
    },
    async waiting() {
      const [row] = await database.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`;
      await database.close();
      return row?.n ?? 0;
    },
  };
}

/** The same envelope, the same number in flight, and nothing of ours on the way. */
function bareSender(job: BrokerJob): Sender {
  const pool = job.arm === 'bare sidecar' ? undefined : writerPool(job.url, IN_FLIGHT);
  let published = 0;
  const publish = async (message: Message) => {
    const eventId = uuidv7();
    const event = buildEnvelope('bench-caller', {
      topic: TOPIC,
      msgKey: message.key,
      eventId,
      keySeq: '1',
      type: BENCH_TYPE,
      payload: message,
      headers: {
        time: new Date().toISOString(),
        correlationid: eventId,
        actor: 'system',
        traceparent: newTraceparent(),
      },
    });
    await post(job.place.publishUrl, job.place.headers, JSON.stringify(event));
    published += 1;
  };
  return {
    async write([message]) {
      if (!message) return;
      if (pool) await businessTransaction(pool, message.key, async () => {});
      await publish(message);
    },
    start: async () => {},
    stop: async () => {},
    async waiting() {
      if (!pool) return 0;
      const rows = await countRows(pool, 'SELECT count(*) AS n FROM business');
      await pool.end();
      if (rows !== published) throw new Error(`${rows} transactions and ${published} messages`);
      return 0;
    },
  };
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** Resolves when it was answered with 2xx. */
function post(url: string, headers: Record<string, string>, body: string): Promise<void> {
  return new Promise((done, fail) => {
    const length = { 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers: { ...headers, ...length } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      answer.on('error', fail).on('end', () => {
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) done();
        else fail(new Error(`${url} answered ${status}: ${text}`));
      });
    });
    sent.on('error', fail).end(body);
  });
}

/** Enters in the ledger what the receiver tells; resolves once it is heard. */
async function listen(receiverUrl: string, ledger: Ledger): Promise<() => void> {
  const over = new AbortController();
  const { body } = await fetch(`${receiverUrl}/handled`, { signal: over.signal });
  if (!body) throw new Error('the receiver tells nothing');
  const hear = async () => {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines)
        for (const [n, at] of JSON.parse(line) as [number, number][])
          ledger.handled({ n, key: '', seq: 0 }, at);
    }
  };
  hear().catch((err: unknown) => {
    if (!over.signal.aborted) console.error('the receiver is not heard any more:', err);
  });
  return () => over.abort();
}
