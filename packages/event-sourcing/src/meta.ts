import { currentContext } from '@sidecart/kit/context';

/** What is kept with each event beside what it says, for those who ask later. */
export interface EventMeta {
  /** Who. */
  actor: string;
  customerId?: string | undefined;
  /** What was asked for: the type of the command. */
  command?: string | undefined;
  /** Of the client's request; the same over every hop. */
  requestId?: string | undefined;
  correlationId?: string | undefined;
  /** The message that led to it; absent when it was a request. */
  causationId?: string | undefined;
  /** W3C Trace Context. */
  traceparent?: string | undefined;
}

/** From the running request or message. */
export function currentMeta(command: string | undefined): EventMeta {
  const context = currentContext();
  return {
    actor: context?.actor ?? 'system',
    customerId: context?.customerId,
    command,
    requestId: context?.requestId,
    correlationId: context?.correlationId,
    causationId: context?.causationId,
    traceparent: context?.traceparent,
  };
}
