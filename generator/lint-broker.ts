import { HANDLER_TIMEOUT_MS, INBOX_DAYS, SENT_DAYS } from '@sidecart/messaging/limits';
import { parse } from 'yaml';
import { type Broker, unfilled } from './broker.ts';
import { milliseconds } from './duration.ts';

const DAY_MS = 86_400_000;

/** Rules for a broker's template: what it says of time must fit what every consumer does. */
export function lintBroker(broker: Broker): string[] {
  return [...deadlineFaults(broker), ...ageFaults(broker), ...keepingFaults()];
}

/** A sent message that a receiver fetches after its inbox row is gone is applied a second time. */
export function keepingFaults(sentDays = SENT_DAYS, inboxDays = INBOX_DAYS): string[] {
  if (sentDays < inboxDays) return [];
  return [
    `sent messages are kept for ${sentDays} days (SENT_DAYS of packages/messaging), which must be below the ${inboxDays} days for which an inbox knows a message (INBOX_DAYS): an older one could be fetched and applied twice. Lower SENT_DAYS, or raise INBOX_DAYS.`,
  ];
}

/** The app must be the first to give a delivery up. */
function deadlineFaults({ resiliency: { policies, target } }: Broker): string[] {
  const { timeout } = target.inbound;
  const patience = milliseconds(policies.timeouts[timeout] ?? '');
  if (patience !== undefined && patience > HANDLER_TIMEOUT_MS) return [];
  return [
    `the timeout ${timeout} must be above ${HANDLER_TIMEOUT_MS} ms (HANDLER_TIMEOUT_MS of packages/messaging): the sidecar would deliver again beside a handler at work. Raise it, or lower the handlers'.`,
  ];
}

/** A message that outlives its inbox row is applied a second time. */
function ageFaults(broker: Broker): string[] {
  const stream = parse(unfilled(broker.stream)) as { max_age?: number; max_age_ms?: number } | null;
  if (stream === null) return [];
  const { type, metadata } = parse(unfilled(broker.component)).spec as ComponentSpec;
  const faults: string[] = [];
  // JetStream's own word is in nanoseconds, and 0 there is "for ever".
  const age = stream.max_age_ms ?? Number(stream.max_age) / 1e6;
  if (!(age > 0 && age < INBOX_DAYS * DAY_MS))
    faults.push(
      `max_age of the streams must be above 0 and below the ${INBOX_DAYS} days for which an inbox knows a message (INBOX_DAYS of packages/messaging): an older one would be applied twice. Lower it, or raise INBOX_DAYS.`,
    );
  const ttl = metadata.find(({ name }) => name === 'streamTTL')?.value;
  if (type === 'pubsub.redis' && milliseconds(ttl ?? '') !== age)
    faults.push(
      `streamTTL (${ttl}) is not max_age_ms of the streams (${age}): the shorter one would count. Make them the same.`,
    );
  return faults;
}

interface ComponentSpec {
  type: string;
  metadata: { name: string; value?: string }[];
}
