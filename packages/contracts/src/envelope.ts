import { z } from 'zod';

/**
 * What every message looks like on the wire: CloudEvents 1.0, structured JSON. This is what senders promise; a reader
 * may rely on it and ignores what it does not know. Sidecars add attributes of their own (`topic`, `pubsubname`,
 * `traceid`).
 */
export const Envelope = z
  .object({
    specversion: z.literal('1.0'),
    id: z.uuid().meta({ description: 'The same at every attempt to publish: what makes a duplicate.' }),
    source: z.string().meta({
      description: 'The sender. Informative: who may publish where is decided by the broker component.',
      example: '/sidecart/orders',
    }),
    type: z.string().meta({ description: 'Which message this is.' }),
    time: z.iso.datetime().meta({ description: 'When the sender wrote it, UTC.' }),
    datacontenttype: z.literal('application/json'),
    dataschema: z.string().meta({ description: 'The JSON Schema of `data`, in packages/contracts.' }),
    partitionkey: z
      .string()
      .meta({ description: 'What the message is about; messages of one key are in order.' }),
    sequence: z
      .string()
      .regex(/^[1-9][0-9]{0,18}$/)
      .meta({ description: '1, 2, 3 without gaps per sender, topic and key. A string: it has 64 bits.' }),
    correlationid: z
      .string()
      .meta({ description: 'One and the same for all that followed from one request.' }),
    causationid: z.string().optional().meta({ description: 'The id of the message that led to this one.' }),
    actor: z.string().meta({ description: 'Who acted.' }),
    customerid: z.string().optional().meta({ description: 'Whom it is about, where there is one.' }),
    traceparent: z.string().meta({ description: 'W3C Trace Context.' }),
    data: z.unknown(),
  })
  .meta({ id: 'Envelope', description: 'CloudEvents 1.0 with the extension attributes of this system.' });
export type Envelope = z.infer<typeof Envelope>;
