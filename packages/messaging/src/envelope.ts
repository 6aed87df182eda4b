import { z } from 'zod';

/** A message as it travels: CloudEvents 1.0 in JSON, with the extension attributes of this system. */
export interface CloudEvent {
  specversion: '1.0';
  /** UUIDv7; the same at every attempt to publish, so that broker and receivers can tell duplicates. */
  id: string;
  /** Informative only: who may publish on a topic is decided by the component's scopes. */
  source: string;
  /** Past tense for a fact (`OrderPlaced`), imperative for a command (`ReserveStock`). */
  type: string;
  /** When the sender wrote it, or when its time had come if it was delayed: RFC 3339, UTC. */
  time: string;
  datacontenttype: 'application/json';
  dataschema: string;
  data: unknown;
  /** What the message is about; messages of one key are published in the order they were written. */
  partitionkey: string;
  /** 1, 2, 3 without gaps per sender, topic and key; a string because it is a 64-bit number. */
  sequence: string;
  correlationid: string;
  causationid?: string;
  actor: string;
  customerid?: string;
  /** W3C. Never set `traceid`: a sidecar of Dapr 1.18.2 dies on a `traceid` that is no string. */
  traceparent: string;
}

/** What the outbox keeps beside the payload, under the names of the envelope. */
export type StoredHeaders = Pick<
  CloudEvent,
  'time' | 'correlationid' | 'causationid' | 'actor' | 'customerid' | 'traceparent'
>;

/** What the envelope is built from: one outbox row. */
export interface StoredMessage {
  topic: string;
  msgKey: string;
  eventId: string;
  keySeq: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
}

const SOURCE = '/sidecart/';

/** The envelope of a stored message; `service` is the sender. */
export function buildEnvelope(service: string, message: StoredMessage): CloudEvent {
  return {
    specversion: '1.0',
    id: message.eventId,
    source: SOURCE + service,
    type: message.type,
    datacontenttype: 'application/json',
    dataschema: `/schemas/${message.type}.json`,
    partitionkey: message.msgKey,
    sequence: message.keySeq,
    ...message.headers,
    data: message.payload,
  };
}

// PostgreSQL cannot store a NUL in a text, and nothing else of this range has any business in an attribute.
const ATTRIBUTE = /^[^\p{Cc}\p{Cs}]{1,512}$/u;
const attribute = z.string().regex(ATTRIBUTE, 'Expected 1 to 512 characters, none of them control');
const optionalAttribute = attribute.optional().catch(undefined);

/** The receivers' rule, for senders. */
export const isAttribute = (value: unknown): value is string =>
  typeof value === 'string' && ATTRIBUTE.test(value);

/**
 * Reads an envelope tolerantly: attributes that it does not know are ignored, and an unusable optional one counts as
 * absent. Required is what a receiver cannot do without: id, type, key and sequence.
 */
export const receivedEnvelope = z.object({
  specversion: z.literal('1.0'),
  id: attribute,
  source: optionalAttribute,
  type: attribute,
  partitionkey: attribute,
  sequence: z
    .string()
    .refine(
      (text) => /^[1-9]\d{0,18}$/.test(text) && BigInt(text) < 2n ** 63n,
      'Expected a positive 64-bit number as a string',
    ),
  time: optionalAttribute,
  correlationid: optionalAttribute,
  causationid: optionalAttribute,
  actor: optionalAttribute,
  customerid: optionalAttribute,
  traceparent: optionalAttribute,
  data: z.unknown(),
});
export type ReceivedEnvelope = z.infer<typeof receivedEnvelope>;

/** Who counted the message's number: the app id, or what else the source says. Only apps with a scope for the topic publish on it. */
export function senderOf({ source = '' }: ReceivedEnvelope): string {
  return source.startsWith(SOURCE) ? source.slice(SOURCE.length) : source;
}
