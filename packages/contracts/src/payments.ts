import { z } from 'zod';
import { OrderId, PaymentId, RefundId, Timestamp } from './common.ts';
import { Money } from './money.ts';

/**
 * What a customer pays with, as the payment provider knows it. The shop never sees a card. The simulator takes `tok_ok` and a few others,
 * each with its own mishap.
 */
export const PaymentToken = z
  .string()
  .regex(/^tok_[a-z0-9_]{1,60}$/, 'Expected tok_ and up to 60 lower-case letters, digits or underscores')
  .meta({
    id: 'PaymentToken',
    description: 'What to pay with, as the provider knows it.',
    example: 'tok_ok',
  });

/** The names that it goes by, in requests, messages and stored events. Whoever looks into those is not shown what is under them. */
export const PAYMENT_SECRETS = ['payment_token', 'token', 'paymentToken'];

// What clients get.

export const PaymentStatus = z
  .enum(['authorising', 'authorised', 'declined', 'capturing', 'captured', 'voiding', 'voided'])
  .meta({ id: 'PaymentStatus' });

export const PaymentOperation = z
  .object({
    kind: z.enum(['authorise', 'capture', 'void', 'refund']),
    refund_id: RefundId.optional(),
    amount: Money.optional(),
    state: z.enum(['pending', 'succeeded', 'refused']),
    reason: z.string().optional(),
    attempts: z.int().min(0),
    requested_at: Timestamp,
    settled_at: Timestamp.optional(),
  })
  .meta({ id: 'PaymentOperation', description: 'One thing that was asked of the provider.' });

export const Payment = z
  .object({
    id: PaymentId,
    order_id: OrderId,
    status: PaymentStatus,
    authorised: Money,
    captured: Money,
    refunded: Money,
    operations: z.array(PaymentOperation),
  })
  .meta({ id: 'Payment', description: 'Always: refunded <= captured <= authorised.' });
export type Payment = z.infer<typeof Payment>;

// Commands that payments takes.

export const AuthorisePayment = z
  .object({ order_id: OrderId, amount: Money, token: PaymentToken })
  .meta({ id: 'AuthorisePayment', description: 'Have the provider hold the money for an order.' });
export type AuthorisePayment = z.infer<typeof AuthorisePayment>;

export const CapturePayment = z.object({ order_id: OrderId, amount: Money }).meta({
  id: 'CapturePayment',
  description: 'Take the money that is held, or less of it; what is left is let go.',
});
export type CapturePayment = z.infer<typeof CapturePayment>;

export const VoidPayment = z.object({ order_id: OrderId, reason: z.string() }).meta({
  id: 'VoidPayment',
  description: 'Let go of the money that is held, or will be: the order is off.',
});
export type VoidPayment = z.infer<typeof VoidPayment>;

export const RefundPayment = z
  .object({ order_id: OrderId, refund_id: RefundId, amount: Money })
  .meta({ id: 'RefundPayment', description: 'Give money back that was taken.' });
export type RefundPayment = z.infer<typeof RefundPayment>;

// Facts that payments publishes. Readers ignore fields that they do not know.

export const PaymentAuthorised = z
  .object({ order_id: OrderId, payment_id: PaymentId, amount: Money, authorised_at: Timestamp })
  .meta({ id: 'PaymentAuthorised', description: 'The money for the order is held.' });
export type PaymentAuthorised = z.infer<typeof PaymentAuthorised>;

export const PaymentDeclined = z
  .object({ order_id: OrderId, payment_id: PaymentId, reason: z.string(), declined_at: Timestamp })
  .meta({ id: 'PaymentDeclined', description: 'The provider does not give the money.' });
export type PaymentDeclined = z.infer<typeof PaymentDeclined>;

export const PaymentCaptured = z
  .object({ order_id: OrderId, payment_id: PaymentId, amount: Money, captured_at: Timestamp })
  .meta({ id: 'PaymentCaptured', description: 'The money was taken.' });
export type PaymentCaptured = z.infer<typeof PaymentCaptured>;

export const CaptureRefused = z
  .object({ order_id: OrderId, payment_id: PaymentId, reason: z.string(), refused_at: Timestamp })
  .meta({ id: 'CaptureRefused', description: 'The provider does not give the money that it held.' });
export type CaptureRefused = z.infer<typeof CaptureRefused>;

export const PaymentVoided = z
  .object({ order_id: OrderId, payment_id: PaymentId, voided_at: Timestamp })
  .meta({ id: 'PaymentVoided', description: 'No money is held for the order, and none will be.' });
export type PaymentVoided = z.infer<typeof PaymentVoided>;

export const VoidRefused = z
  .object({ order_id: OrderId, payment_id: PaymentId, reason: z.string(), refused_at: Timestamp })
  .meta({ id: 'VoidRefused', description: 'The provider keeps holding the money.' });
export type VoidRefused = z.infer<typeof VoidRefused>;

export const PaymentRefunded = z
  .object({
    order_id: OrderId,
    payment_id: PaymentId,
    refund_id: RefundId,
    amount: Money,
    refunded_at: Timestamp,
  })
  .meta({ id: 'PaymentRefunded', description: 'Money was given back.' });
export type PaymentRefunded = z.infer<typeof PaymentRefunded>;

export const RefundRefused = z
  .object({
    order_id: OrderId,
    payment_id: PaymentId,
    refund_id: RefundId,
    reason: z.string(),
    refused_at: Timestamp,
  })
  .meta({ id: 'RefundRefused', description: 'The provider does not give the money back.' });
export type RefundRefused = z.infer<typeof RefundRefused>;
