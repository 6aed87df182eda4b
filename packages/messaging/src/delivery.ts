import { createHash } from 'node:crypto';
import { childTraceparent, currentContext, newTraceparent, parseTraceparent } from '@sidecart/kit/context';
import { z } from 'zod';
import { type ReceivedEnvelope, receivedEnvelope, senderOf } from './envelope.ts';
import { rootMessage, UnreadableError } from './failures.ts';
import type { Handler, Message } from './handler.ts';
import type { Place } from './key-order.ts';

/** One delivery, as far as it can be read. */
export interface Delivery {
  /** The CloudEvent id, or `sha256:<hex of the body>` where none can be read. */
  id: string;
  envelope?: ReceivedEnvelope;
  fault?: UnreadableError;
}

/** Reads the envelope; one that cannot be read is known by the hash of its bytes, so that it too is kept only once. */
export function readDelivery(body: Uint8Array): Delivery {
  try {
    const parsed = receivedEnvelope.safeParse(
      JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)),
    );
    if (parsed.success) return { id: parsed.data.id, envelope: parsed.data };
    return { id: hashOf(body), fault: new UnreadableError('envelope', z.prettifyError(parsed.error)) };
  } catch (err) {
    return { id: hashOf(body), fault: new UnreadableError('envelope', `No JSON: ${rootMessage(err)}`) };
  }
}

export function readMessage(handler: Handler, envelope: ReceivedEnvelope): Message<unknown> {
  const data = handler.schema.safeParse(envelope.data);
  if (!data.success) throw new UnreadableError('schema', z.prettifyError(data.error));
  return {
    id: envelope.id,
    type: envelope.type,
    key: envelope.partitionkey,
    sequence: envelope.sequence,
    actor: actorOf(envelope),
    ...(envelope.customerid !== undefined && { customerId: envelope.customerid }),
    correlationId: envelope.correlationid ?? envelope.id,
    ...(envelope.causationid !== undefined && { causationId: envelope.causationid }),
    data: data.data,
  };
}

/** What the handler writes belongs to the message: it is its cause, and its sender's trace goes on. */
export function contextOf({ id, envelope }: Delivery) {
  const outer = currentContext();
  const parent = parseTraceparent(envelope?.traceparent) ?? outer?.traceparent;
  return {
    traceparent: parent ? childTraceparent(parent) : newTraceparent(),
    requestId: outer?.requestId ?? id,
    actor: envelope ? actorOf(envelope) : 'unknown',
    ...(envelope?.customerid !== undefined && { customerId: envelope.customerid }),
    correlationId: envelope?.correlationid ?? id,
    causationId: id,
  };
}

function actorOf(envelope: ReceivedEnvelope): string {
  return envelope.actor ?? 'unknown';
}

/** Where the message stands among those of its key. */
export function placeOf(topic: string, envelope: ReceivedEnvelope): Place {
  return {
    topic,
    sender: senderOf(envelope),
    key: envelope.partitionkey,
    seq: BigInt(envelope.sequence),
  };
}

function hashOf(body: Uint8Array): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}
