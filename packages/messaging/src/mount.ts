import type { Database } from '@sidecart/kit/db';
import type { Hono } from 'hono';
import { type Consumer, mountConsumer } from './consumer.ts';
import { mountDeadLetters } from './dead-letter-routes.ts';
import type { Handler } from './handler.ts';
import { SELF } from './outbox-insert.ts';
import { mountSent } from './sent-routes.ts';

/**
 * Mounts what others ask of a service's messaging: what it has sent, and for one that receives, or that sends to itself, the
 * deliveries and the dead letters. `local` is what createMessaging returned, without
 * which dead letters of messages to oneself cannot be redriven.
 */
export function mountMessages(
  // biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
  app: Hono<any, any, any>,
  o: {
    service: string;
    database: Database;
    consumer?: Consumer;
    local?: Readonly<Record<string, Handler>>;
  },
): void {
  const { database, consumer, local } = o;
  mountSent(app, o);
  if (consumer) mountConsumer(app, consumer);
  if (!consumer && !local) return;
  const topics = { ...consumer?.topics, ...(local && { [SELF]: localTopic(local) }) };
  mountDeadLetters(app, { database, consumer: { topics, drain: async (key) => consumer?.drain(key) } });
}

/** The local worker keeps the order of its keys by itself, and sees in dead_letter which of them are held. */
function localTopic(local: Readonly<Record<string, Handler>>) {
  const handlers = Object.fromEntries(
    Object.entries(local).map(([type, handler]) => [type, { ...handler, ordered: false }]),
  );
  return { kind: 'command' as const, handlers };
}
