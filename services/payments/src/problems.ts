import { defineProblems } from '@sidecart/kit/problem';

/** What payments may answer beyond the problems that every service has. */
export const problems = defineProblems({
  webhook_signature_invalid: {
    status: 401,
    title: 'The webhook is not signed by the provider, or is too old',
    cure: 'Sign id, timestamp and body after the Standard Webhooks spec, with the secret that both sides know, at the time of sending.',
  },
  webhook_contradicts: {
    status: 409,
    title: 'The webhook tells of another amount than was asked for',
    cure: 'Compare the operation at the provider with the one in payments; nothing was stored.',
  },
  payment_amount_changed: {
    status: 409,
    title: 'The same was asked for before, with another amount',
    cure: 'A message contradicts an earlier one: compare the order with its payment.',
  },
  payment_amount_zero: {
    status: 422,
    title: 'Nothing is no amount of money',
    cure: 'Ask for an amount above zero, or do not ask.',
  },
  payment_not_authorised: {
    status: 409,
    title: 'Money is to be taken of which nobody was told that it is held',
    cure: 'A message contradicts an earlier one: compare the order with its payment.',
  },
  payment_not_captured: {
    status: 409,
    title: 'Money is to be given back for an order without a payment',
    cure: 'A message contradicts an earlier one: compare the order with its payment.',
  },
});
