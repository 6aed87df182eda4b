/** A stream as `npm run generate` writes it down for Redis. */
export interface RedisStreamWanted {
  /** Its key. */
  name: string;
  /** How long an entry is kept, read or not. */
  max_age_ms: number;
}

/** A consumer group that a sidecar makes on the broker when it subscribes. */
export interface RedisGroup {
  app: string;
  /** The key of the stream. */
  stream: string;
  name: string;
}

/** What Redis shall hold: streams and groups are made by the sidecars, and made again by them when they are gone. */
export interface RedisWanted {
  streams: RedisStreamWanted[];
  consumers: RedisGroup[];
}

type Send = (...command: string[]) => Promise<unknown>;

const TIMEOUT_MS = 2_000;

/**
 * Runs `work` on a connection of its own, as this is asked every few seconds only. The client is loaded here: it costs
 * tens of megabytes that a shop on another broker need not pay.
 */
export async function withRedis<T>(url: string, work: (send: Send) => Promise<T>): Promise<T> {
  const { createClient } = await import('@redis/client');
  const client = createClient({
    url,
    name: 'runner',
    // Its records as lists; the newer protocol has them as maps.
    RESP: 2,
    commandOptions: { timeout: TIMEOUT_MS },
    socket: { connectTimeout: TIMEOUT_MS, reconnectStrategy: false },
  });
  // Without a listener an error between two commands would end the process; the next command says it, too.
  client.on('error', () => {});
  try {
    await client.connect();
    return await work((...command) => client.sendCommand(command));
  } finally {
    client.destroy();
  }
}

/** Throws while the server does not answer, which it does not while it reads its file, either. */
export function pingRedis(url: string): Promise<void> {
  return withRedis(url, async (send) => void (await send('PING')));
}

/** Each app publishes to this topic now and then. */
const PROBE_KEY = 'probe';

/**
 * Makes the probes leave nothing behind: under the probes' key lies a plain string, so that Redis answers a publish there
 * with `WRONGTYPE` and stores nothing. Without it they would be a stream of their own.
 * @returns whether there was something to do.
 */
export function closeProbe(url: string): Promise<boolean> {
  return withRedis(url, async (send) => {
    if ((await send('TYPE', PROBE_KEY)) === 'string') return false;
    const text = 'probes of the apps are refused here and leave nothing';
    // At once, or a probe in between would make the stream again.
    await send(
      'EVAL',
      "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1])",
      '1',
      PROBE_KEY,
      text,
    );
    return true;
  });
}

/**
 * Drops what is older than its stream keeps. A publish does so, too, but leaves up to a hundred entries, and nothing
 * drops the last ones of a topic that nobody publishes to any more.
 * @returns how many entries went.
 */
export function trimStreams(url: string, streams: RedisStreamWanted[]): Promise<number> {
  return withRedis(url, async (send) => {
    const [seconds] = (await send('TIME')) as [string, string];
    let gone = 0;
    for (const { name, max_age_ms } of streams) {
      const oldest = Number(seconds) * 1000 - max_age_ms;
      gone += Number(await send('XTRIM', name, 'MINID', '=', String(oldest)));
    }
    return gone;
  });
}

/** Names of the groups that no sidecar has made yet. */
export function missingGroups(url: string, wanted: RedisGroup[]): Promise<string[]> {
  return withRedis(url, async (send) => {
    const missing: string[] = [];
    for (const { stream, name } of wanted)
      if (!(await groupsOf(send, stream)).includes(name)) missing.push(name);
    return missing;
  });
}

/**
 * How many connections wait for messages at this moment: one per lane and sidecar when all is quiet. Redis 7.0 does not
 * tell a group's readers before they were given something.
 */
export function waitingReaders(url: string): Promise<number> {
  return withRedis(url, async (send) => {
    const clients = String(await send('CLIENT', 'LIST')).split('\n');
    return clients.filter((line) => / cmd=xreadgroup( |$)/.test(line)).length;
  });
}

/** Names of the groups that were read from within the last `ms`. */
export function readLately(url: string, wanted: RedisGroup[], ms: number): Promise<Set<string>> {
  return withRedis(url, async (send) => {
    const lately = new Set<string>();
    for (const { stream, name } of wanted) {
      if (!(await groupsOf(send, stream)).includes(name)) continue;
      const consumers = (await send('XINFO', 'CONSUMERS', stream, name)) as unknown[][];
      if (consumers.some((consumer) => Number(fieldsOf(consumer).idle) < ms)) lately.add(name);
    }
    return lately;
  });
}

async function groupsOf(send: Send, stream: string): Promise<string[]> {
  if ((await send('EXISTS', stream)) === 0) return [];
  return ((await send('XINFO', 'GROUPS', stream)) as unknown[][]).map((group) =>
    String(fieldsOf(group).name),
  );
}

/** Redis says a record as a list of names and values by turns. */
function fieldsOf(list: unknown[]): Record<string, unknown> {
  return Object.fromEntries(
    Array.from({ length: list.length / 2 }, (_, i) => [String(list[2 * i]), list[2 * i + 1]]),
  );
}
