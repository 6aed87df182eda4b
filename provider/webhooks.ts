import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import type { Operation } from './books.ts';

export interface WebhookSender {
  /** Tells of an operation in its own time; resolves when it was taken, or given up. */
  tell(operation: Operation, o: { times: number; delayMs: number }): Promise<void>;
  /** No attempt begins any more. */
  stop(): void;
}

/** Attempts at one webhook, each twice as long after the one before. */
const ATTEMPTS = 8;
const FIRST_PAUSE_MS = 500;
const ANSWER_MS = 5000;

/** Sends webhooks as the Standard Webhooks spec says: signed over id, time and body, the same id at every attempt. */
export function createWebhookSender(o: {
  url: string;
  /** `whsec_` and base64. */
  secret: string;
  log: (line: object) => void;
}): WebhookSender {
  const webhook = new Webhook(o.secret);
  let stopped = false;
  const timers = new Set<{ timer: NodeJS.Timeout; done: () => void }>();
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const entry = { timer: setTimeout(() => end(), ms), done: () => end() };
      const end = () => {
        clearTimeout(entry.timer);
        timers.delete(entry);
        resolve();
      };
      timers.add(entry);
    });

  async function send(id: string, body: string): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS && !stopped; attempt += 1) {
      if (attempt > 0) await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
      if (stopped) return false;
      const at = new Date();
      try {
        const answer = await fetch(o.url, {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            'webhook-id': id,
            'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
            'webhook-signature': webhook.sign(id, at, body),
          },
          body,
          signal: AbortSignal.timeout(ANSWER_MS),
        });
        await answer.body?.cancel();
        if (answer.ok) return true;
        o.log({ msg: 'webhook was not taken', id, status: answer.status, attempt });
      } catch (err) {
        o.log({ msg: 'webhook did not arrive', id, reason: String(err), attempt });
      }
    }
    return false;
  }

  return {
    async tell(operation, { times, delayMs }) {
      if (delayMs > 0) await pause(delayMs);
      const id = `msg_${randomUUID()}`;
      const body = JSON.stringify({
        type: `${operation.kind}.${operation.state}`,
        timestamp: operation.at,
        data: operation,
      });
      for (let time = 0; time < times; time += 1) await send(id, body);
    },
    stop() {
      stopped = true;
      for (const { done } of timers) done();
    },
  };
}
