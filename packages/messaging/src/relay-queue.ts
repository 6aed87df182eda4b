import type { StoredMessage } from './envelope.ts';
import type { KeyPlace } from './relay-session.ts';
import type { SlotPart } from './slot-read.ts';

/** One outbox row as the relay reads it. */
export interface OutboxMessage extends StoredMessage {
  id: bigint;
  slot: number;
  /** Of its payload and headers as JSON. */
  bytes: number;
}

/** Which keys and topics the next read shall leave out, because nothing of theirs could be published. */
export interface Exclusions {
  topics: string[];
  keys: { topic: string; key: string }[];
}

export interface QueueStatus {
  /** Topics on which several keys failed one after the other and none succeeded since. */
  topicsDown: string[];
  /** Keys whose first message failed, and how often. */
  failing: { topic: string; key: string; failures: number; error: string; refused: boolean }[];
}

/** Which rows of a read may be taken that do not have the next number of their key; see `Sweep`. */
export interface Beliefs {
  believes(row: OutboxMessage): boolean;
  /** It is not taken, although there is room for it. */
  doubt(row: OutboxMessage): void;
  /** It was dropped from memory or passed over, to be read again: no later one of its key is to be believed before. */
  distrust(message: OutboxMessage): void;
  /** The slot is given up: nothing of it is known any more. */
  drop(slot: number): void;
}

export interface PublishError {
  message: string;
  /** Trying again does not help: this message was refused, or this service. */
  refused?: 'message' | 'service' | undefined;
}

/**
 * The relay's messages in memory and the rule which of them may be published now: never two of one key at a time,
 * each key in the order of its ids, a failing key waits (200 ms, doubled up to 5 s) and holds up only itself. Knows
 * nothing of database and broker. Times are milliseconds of one monotonic clock.
 */
export interface RelayQueue {
  /** Takes the rows of one read, sorted by id: of each key the next number, and what is believed. */
  offer(rows: OutboxMessage[]): void;
  /** Keys of which more is wanted that is left out of the reads. */
  wanted(): KeyPlace[];
  /** Takes what was read of such a key. */
  refill(place: KeyPlace, part: SlotPart): void;
  /** The next message to publish, now in flight. */
  next(now: number): OutboxMessage | undefined;
  /**
   * The broker acknowledged it. It is still remembered, so that a read does not bring it back before it is deleted.
   * True when this ended the trouble of its key or topic.
   */
  succeeded(message: OutboxMessage): boolean;
  /** True when it was refused, and the last attempt of its key was not, or not so. */
  failed(message: OutboxMessage, now: number, error: PublishError): boolean;
  deleted(ids: Iterable<bigint>): void;
  /** Forgets what waits in a slot that is given up; what is in flight may end. */
  leave(slot: number): void;
  /** True when nothing of the slot is in flight any more. */
  hasLeft(slot: number): boolean;
  /** The slot was given up, and what comes of it from now on is new. */
  left(slot: number): void;
  exclusions(): Exclusions;
  /** True when something that was left out of the reads is wanted again: read from the start. */
  wantsRewind(): boolean;
  /** A read from the start begins. Answers with the topics of which something was left out; single keys were distrusted. */
  rewound(): string[];
  /** Messages in memory that could be published soon; those of failing keys and of topics that are down are not among them. */
  sendable(): number;
  /** What these take, in bytes of JSON. */
  sendableBytes(): number;
  /** When a waiting message becomes due, if it is not due now. */
  nextDue(now: number): number | undefined;
  status(): QueueStatus;
}

/** Messages of one key in memory; with fewer than half as many more are read. */
const PER_KEY = 50;
/** So many keys are read on at once. */
const REFILLED = 8;
/** With so many waiting for that, keys that recover are found by the next sweep: each that is read on passes all of its slot by itself. */
const HUNGRY_AT_MOST = 32;
/** So many keys of a topic failing without a success between them mean that it is not the keys. */
const DOWN_AFTER = 3;
/** Messages that are kept in memory of a topic that is down: enough to notice that it is back. Fewer of large ones, as soon as they have so many bytes. */
const KEPT_WHEN_DOWN = { messages: 32, ofLarge: 8, bytes: 4 * 1024 * 1024 };
/**
 * A key that failed so often (after 16 s of waiting, or less where others of its topic go through meanwhile) may be at fault itself, as one
 * whose message is refused is at once. It is not counted among those that are kept: when these are nothing but such keys, others have to show
 * whether the topic is back.
 */
const STUCK_AFTER = 8;
/** With so many of these, or so many bytes of their messages, no more of the topic is read: they are in memory, and each is tried every 5 s. */
const STUCK_AT_MOST = { keys: 1000, bytes: 32 * 1024 * 1024 };
/** Keys whose last number is remembered. */
const REMEMBERED_KEYS = 20_000;
/**
 * So many attempts of what has failed are under way at a time, and so many of topics that are down, of the 16 that a relay has by default: each may take
 * as long as a publish may, and the rest is for what did not fail.
 */
const AT_MOST = { retry: 8, probe: 4 };

type Counted = keyof typeof AT_MOST;

interface KeyState {
  topic: string;
  msgKey: string;
  slot: number;
  messages: OutboxMessage[];
  inFlight: boolean;
  /** What is in flight is one of the attempts that are counted. */
  counted: Counted | undefined;
  /** The table has more of this key than memory; it is left out of the reads, and read on by itself. */
  more: boolean;
  /** From behind this id. */
  from: bigint;
  failures: number;
  dueAt: number;
  /** Its last attempt came before its time, because something of its topic had gone through. */
  wasEarly: boolean;
  error: string;
  refused: PublishError['refused'];
}

interface TopicState {
  /** Messages in memory, and their bytes. */
  size: number;
  bytes: number;
  /** Those of them that failed, one of each key. */
  failed: number;
  failedBytes: number;
  inFlight: number;
  /** Its last attempt was the n-th of all. */
  tried: number;
  /** Keys that failed since the last success, and not for what their message is. */
  failing: Set<KeyState>;
  /** Keys that are taken to be at fault themselves. */
  stuck: Set<KeyState>;
  /** Of the first messages of these. */
  stuckBytes: number;
}

/** How long to wait after the n-th failure in a row, in ms. */
export function backoffMs(failures: number): number {
  return Math.min(5000, 200 * 2 ** (failures - 1));
}

/** `perKey`: messages of one key in memory. */
export function createRelayQueue(beliefs: Beliefs, perKey = PER_KEY): RelayQueue {
  const keys = new Map<string, KeyState>();
  const topics = new Map<string, TopicState>();
  /** Keys that have a message and none in flight, the one that waited longest first. */
  const idle = new Set<KeyState>();
  const held = new Set<bigint>();
  const lastSequence = new Map<string, bigint>();
  /** Keys that are to be read on. */
  const hungry = new Set<KeyState>();
  const leaving = new Set<number>();
  let rewind = false;
  /** Topics that were left out and are not any more. */
  const back = new Set<string>();
  /** Topics that the last read left out. */
  let leftOut: string[] = [];
  const underWay = { retry: 0, probe: 0 };
  let attempts = 0;

  function topicOf(name: string): TopicState {
    let topic = topics.get(name);
    if (!topic) {
      topic = newTopic();
      topics.set(name, topic);
    }
    return topic;
  }

  function entered(message: OutboxMessage): void {
    const topic = topicOf(message.topic);
    topic.size += 1;
    topic.bytes += message.bytes;
  }

  function gone(message: OutboxMessage): void {
    const topic = topicOf(message.topic);
    topic.size -= 1;
    topic.bytes -= message.bytes;
  }

  /** Of a key that fails its first message only is in memory. */
  function countFailing(message: OutboxMessage, by: 1 | -1): void {
    const topic = topicOf(message.topic);
    topic.failed += by;
    topic.failedBytes += by * message.bytes;
  }

  /** A topic that is down gets one attempt at a time, whichever of its keys is due. */
  function dueAt(state: KeyState): number {
    const kind = kindOf(state);
    if (kind && underWay[kind] >= AT_MOST[kind]) return Number.POSITIVE_INFINITY;
    const mustWait = kind === 'probe' && topicOf(state.topic).inFlight > 0;
    return mustWait ? Number.POSITIVE_INFINITY : state.dueAt;
  }

  function kindOf({ failures, topic }: KeyState): Counted | undefined {
    if (isDown(topicOf(topic))) return 'probe';
    return failures > 0 ? 'retry' : undefined;
  }

  /** Of the topics that are down the one whose last attempt is longest ago: by the order of keys alone one with many would be tried again before others once. */
  function inTurn(first: KeyState, now: number): KeyState {
    if (kindOf(first) !== 'probe') return first;
    let chosen = first;
    for (const state of idle) {
      const topic = topicOf(state.topic);
      if (isDown(topic) && topic.tried < topicOf(chosen.topic).tried && dueAt(state) <= now) chosen = state;
    }
    return chosen;
  }

  function landed(state: KeyState): void {
    state.inFlight = false;
    topicOf(state.topic).inFlight -= 1;
    if (state.counted) underWay[state.counted] -= 1;
  }

  /** Drops what comes after the first `keep` messages of a key from memory; the table still has it. */
  function shorten(state: KeyState, keep: number): void {
    const dropped = state.messages.splice(keep);
    for (const message of dropped) {
      held.delete(message.id);
      gone(message);
    }
  }

  /** Drops the keys of a topic that did not fail yet, all but a few that may show that it is back: no more of it is read then. */
  function shed(name: string): void {
    const topic = topicOf(name);
    for (const state of idle) {
      if (state.topic !== name || state.failures > 0) continue;
      const [first] = state.messages;
      if (!first || !isEnough(kept(topic) - state.messages.length, keptBytes(topic) - bytesOf(state)))
        continue;
      beliefs.distrust(first);
      drop(state);
    }
  }

  function drop(state: KeyState): void {
    shorten(state, 0);
    idle.delete(state);
    hungry.delete(state);
    keys.delete(nameOf(state));
  }

  function forget(state: KeyState): void {
    const [first] = state.messages;
    if (state.failures > 0 && first) countFailing(first, -1);
    acquit(state);
    free(state);
    drop(state);
  }

  /** Its failures say nothing of its topic. */
  function acquit(state: KeyState): void {
    const topic = topicOf(state.topic);
    const wasDown = isDown(topic);
    topic.failing.delete(state);
    if (wasDown && !isDown(topic)) rewindFor(state.topic); // keys were dropped from memory
  }

  function stick(state: KeyState, { bytes }: OutboxMessage): void {
    const topic = topicOf(state.topic);
    if (topic.stuck.has(state)) return;
    topic.stuck.add(state);
    topic.stuckBytes += bytes;
  }

  /** Before its first message is taken from it. */
  function free(state: KeyState): void {
    const topic = topicOf(state.topic);
    if (topic.stuck.delete(state)) topic.stuckBytes -= state.messages[0]?.bytes ?? 0;
  }

  /**
   * Something of its topic went through, so it is tried before its time. One that failed so often that it may be at fault itself has one such attempt
   * and then waits for its time again, or it would be tried with each success of others.
   */
  function hurry(state: KeyState): void {
    if (!state.inFlight && !(state.wasEarly && state.failures >= STUCK_AFTER)) state.dueAt = 0;
  }

  /** What the table has behind this message of its key is taken from there. */
  function leaveToSweep(state: KeyState, message: OutboxMessage): void {
    state.more = false;
    rewind = true;
    beliefs.distrust(message);
  }

  function sumOfUp(of: (topic: TopicState) => number): number {
    let sum = 0;
    for (const topic of topics.values()) if (!isDown(topic)) sum += of(topic);
    return sum;
  }

  function rewindFor(topic: string): void {
    rewind = true;
    back.add(topic);
  }

  function isLow(state: KeyState): boolean {
    return state.messages.length < perKey / 2;
  }

  function isNext(row: OutboxMessage, state: KeyState | undefined): boolean {
    const last = state?.messages.at(-1)?.keySeq ?? lastSequence.get(nameOf(row)) ?? 0;
    return BigInt(row.keySeq) === BigInt(last) + 1n;
  }

  function take(row: OutboxMessage, state: KeyState): void {
    keys.set(nameOf(row), state);
    state.messages.push(row);
    state.from = row.id;
    held.add(row.id);
    entered(row);
    if (!state.inFlight) idle.add(state);
  }

  function remember(message: OutboxMessage): void {
    const name = nameOf(message);
    lastSequence.delete(name); // to the end: the key that was quiet longest is forgotten first
    lastSequence.set(name, BigInt(message.keySeq));
    if (lastSequence.size > REMEMBERED_KEYS) lastSequence.delete(lastSequence.keys().next().value as string);
  }

  return {
    offer(rows) {
      for (const row of rows) {
        if (held.has(row.id)) continue;
        const state = keys.get(nameOf(row));
        if (state && (state.more || state.messages.length >= perKey)) {
          state.more = true;
        } else if (isNext(row, state) || beliefs.believes(row)) {
          take(row, state ?? newKey(row));
        } else {
          beliefs.doubt(row); // at once, as what comes behind it in this read is not the next either
        }
      }
    },

    wanted() {
      const places: KeyPlace[] = [];
      for (const { topic, msgKey, slot, from } of hungry) {
        if (isFull(topicOf(topic))) continue;
        places.push({ topic, key: msgKey, slot, after: from });
        if (places.length === REFILLED) break;
      }
      return places;
    },

    refill({ topic, key, after }, { rows, to, more }) {
      const state = keys.get(nameOf({ topic, msgKey: key }));
      // It failed meanwhile, and what was behind its first message is not in memory any more; or its slot was left and won again.
      if (!state?.more || state.failures > 0 || state.from !== after) return;
      const fitting = rows.slice(0, perKey - state.messages.length);
      const doubted = fitting.find((row) => {
        const isTaken = isNext(row, state);
        if (isTaken) take(row, state);
        return !isTaken;
      });
      if (doubted) {
        state.more = false;
        rewind = true;
        beliefs.distrust(doubted);
      } else if (fitting.length === rows.length) {
        state.more = more;
        state.from = to;
      }
      hungry.delete(state);
      if (state.more && isLow(state)) hungry.add(state); // behind those that wait for their first turn
      if (!state.more && state.messages.length === 0) drop(state);
    },

    next(now) {
      for (const first of idle) {
        if (dueAt(first) > now) continue;
        const state = inTurn(first, now);
        idle.delete(state);
        state.inFlight = true;
        state.counted = kindOf(state);
        if (state.counted) underWay[state.counted] += 1;
        const topic = topicOf(state.topic);
        topic.inFlight += 1;
        topic.tried = ++attempts;
        return state.messages[0];
      }
      return undefined;
    },

    succeeded(message) {
      const name = nameOf(message);
      const state = keys.get(name) as KeyState;
      const topic = topicOf(message.topic);
      const hadFailed = state.failures > 0;
      const recovered = hadFailed || isDown(topic);
      if (hadFailed) countFailing(message, -1);
      if (isDown(topic)) rewindFor(message.topic); // keys were dropped from memory
      for (const other of topic.failing) hurry(other);
      topic.failing.clear();
      free(state);
      state.messages.shift();
      gone(message);
      landed(state);
      state.failures = 0;
      state.dueAt = 0;
      remember(message);
      if (hadFailed && hungry.size >= HUNGRY_AT_MOST) leaveToSweep(state, message);
      const wantsMore = state.more && !leaving.has(state.slot);
      if (wantsMore && isLow(state)) hungry.add(state);
      if (state.messages.length > 0) idle.add(state);
      else if (!wantsMore) drop(state);
      return recovered;
    },

    failed(message, now, error) {
      const state = keys.get(nameOf(message)) as KeyState;
      const topic = topicOf(message.topic);
      landed(state);
      const before = state.failures > 0 ? state.refused : undefined;
      const isNews = error.refused !== undefined && error.refused !== before;
      if (leaving.has(state.slot)) {
        forget(state);
        return isNews;
      }
      if (state.failures === 0) countFailing(message, 1);
      state.wasEarly = state.failures > 0 && state.dueAt === 0;
      state.failures += 1;
      state.dueAt = now + backoffMs(state.failures);
      state.error = error.message;
      state.refused = error.refused;
      shorten(state, 1);
      state.more = true;
      state.from = message.id;
      hungry.delete(state);
      idle.add(state);
      if (error.refused === 'message') acquit(state);
      else topic.failing.add(state);
      if (error.refused === 'message' || state.failures >= STUCK_AFTER) stick(state, message);
      if (isDown(topic)) shed(message.topic);
      return isNews;
    },

    deleted(ids) {
      for (const id of ids) held.delete(id);
    },

    leave(slot) {
      leaving.add(slot);
      for (const state of keys.values()) {
        if (state.slot !== slot) continue;
        hungry.delete(state);
        if (state.inFlight) shorten(state, 1);
        else forget(state);
      }
    },

    hasLeft: (slot) => ![...keys.values()].some((state) => state.slot === slot),

    left(slot) {
      leaving.delete(slot);
      beliefs.drop(slot);
    },

    exclusions() {
      const full = [...topics].flatMap(([name, topic]) => (isFull(topic) ? [name] : []));
      for (const name of leftOut) if (!full.includes(name)) rewindFor(name);
      leftOut = full;
      const left = [...keys.values()].filter((k) => k.more);
      return { topics: full, keys: left.map(({ topic, msgKey }) => ({ topic, key: msgKey })) };
    },

    wantsRewind: () => rewind,

    rewound() {
      rewind = false;
      const topics = [...back];
      back.clear();
      return topics;
    },

    sendable: () => sumOfUp(({ size, failed }) => size - failed),

    sendableBytes: () => sumOfUp(({ bytes, failedBytes }) => bytes - failedBytes),

    nextDue(now) {
      let soonest = Number.POSITIVE_INFINITY;
      for (const state of idle) soonest = Math.min(soonest, dueAt(state));
      return soonest === Number.POSITIVE_INFINITY || soonest <= now ? undefined : soonest;
    },

    status: () => ({
      topicsDown: [...topics].filter(([, topic]) => isDown(topic)).map(([name]) => name),
      failing: [...keys.values()]
        .filter((k) => k.failures > 0)
        .map(({ topic, msgKey, failures, error, refused }) => ({
          topic,
          key: msgKey,
          failures,
          error,
          refused: refused !== undefined,
        })),
    }),
  };
}

function newTopic(): TopicState {
  return {
    size: 0,
    bytes: 0,
    failed: 0,
    failedBytes: 0,
    inFlight: 0,
    tried: 0,
    failing: new Set(),
    stuck: new Set(),
    stuckBytes: 0,
  };
}

function isDown(topic: TopicState): boolean {
  return topic.failing.size >= DOWN_AFTER;
}

function isFull(topic: TopicState): boolean {
  const isStuck = topic.stuck.size >= STUCK_AT_MOST.keys || topic.stuckBytes >= STUCK_AT_MOST.bytes;
  return isStuck || (isDown(topic) && isEnough(kept(topic), keptBytes(topic)));
}

/** To notice that a topic is back. */
function isEnough(messages: number, bytes: number): boolean {
  const enough = bytes >= KEPT_WHEN_DOWN.bytes ? KEPT_WHEN_DOWN.ofLarge : KEPT_WHEN_DOWN.messages;
  return messages >= enough;
}

function kept(topic: TopicState): number {
  return topic.size - topic.stuck.size;
}

function keptBytes(topic: TopicState): number {
  return topic.bytes - topic.stuckBytes;
}

function bytesOf({ messages }: KeyState): number {
  return messages.reduce((sum, { bytes }) => sum + bytes, 0);
}

function nameOf(m: { topic: string; msgKey: string }): string {
  return `${m.topic} ${m.msgKey}`;
}

function newKey({ topic, msgKey, slot }: OutboxMessage): KeyState {
  return {
    topic,
    msgKey,
    slot,
    messages: [],
    inFlight: false,
    counted: undefined,
    more: false,
    from: 0n,
    failures: 0,
    dueAt: 0,
    wasEarly: false,
    error: '',
    refused: undefined,
  };
}
