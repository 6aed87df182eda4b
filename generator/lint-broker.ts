import { HANDLER_TIMEOUT_MS, INBOX_DAYS } from '@sidecart/messaging/limits';
import { parse } from 'yaml';
import type { Broker } from './broker.ts';
import { milliseconds } from './duration.ts';

const DAY_MS = 86_400_000;

/** Rules for a broker's template: what it says of time must fit what every consumer does. */
export function lintBroker(broker: Broker): string[] {
  return [...deadlineFaults(broker), ...ageFaults(broker)];
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

/** A message that outlives its inbox row is applied a second time. JetStream takes 0 for "for ever". */
function ageFaults({ stream }: Broker): string[] {
  const { max_age: nanoseconds } = parse(stream.replaceAll(/\{\{[^}]*\}\}/g, 'any'));
  const days = Number(nanoseconds) / 1e6 / DAY_MS;
  if (days > 0 && days < INBOX_DAYS) return [];
  return [
    `max_age of the streams must be above 0 and below the ${INBOX_DAYS} days for which an inbox knows a message (INBOX_DAYS of packages/messaging): an older one would be applied twice. Lower it, or raise INBOX_DAYS.`,
  ];
}
