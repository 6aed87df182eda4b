import type { Database } from '@sidecart/kit/db';
import type { Hono } from 'hono';
import { type Consumer, mountConsumer } from './consumer.ts';
import { mountDeadLetters } from './dead-letter-routes.ts';
import { mountSent } from './sent-routes.ts';

/**
 * Mounts what others ask of a service's messaging: what it has sent, and for one that receives, the deliveries and its dead
 * letters.
 */
export function mountMessages(
  // biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
  app: Hono<any, any, any>,
  o: { service: string; database: Database; consumer?: Consumer },
): void {
  const { consumer } = o;
  mountSent(app, o);
  if (!consumer) return;
  mountConsumer(app, consumer);
  mountDeadLetters(app, { ...o, consumer });
}
