import { eventStoreProblems } from '@sidecart/event-sourcing/problems';
import { defineProblems } from '@sidecart/kit/problem';

/** What orders may answer beyond the problems that every service has. */
export const problems = defineProblems({
  ...eventStoreProblems,
  duplicate_line: {
    status: 422,
    title: 'A product is on more than one line',
    cure: 'Send one line per product, with the quantities added up.',
  },
  unknown_product: {
    status: 422,
    title: 'There is no such product',
    cure: 'Check the lines in errors. A product made a moment ago may need a second to be known everywhere.',
  },
  product_retired: {
    status: 422,
    title: 'A product is no longer for sale',
    cure: 'Leave out the lines in errors.',
  },
  price_changed: {
    status: 409,
    title: 'A price is not what the order says',
    cure: 'Show the customer the current prices in errors, and order again with them; the key is still unused.',
  },
  products_unavailable: {
    status: 503,
    title: 'Prices cannot be checked at the moment',
    cure: 'Repeat the request after Retry-After seconds, with the same Idempotency-Key; nothing was stored.',
  },
  order_not_cancellable: {
    status: 409,
    title: 'The order can no longer be cancelled',
    cure: 'It was rejected, or it has left: ask for a refund instead.',
  },
  order_not_amendable: {
    status: 409,
    title: 'The order can no longer be amended',
    cure: 'It has left or ended: ask for a refund of what is not wanted.',
  },
  order_busy: {
    status: 409,
    title: 'The order waits for an answer about an earlier change',
    cure: 'Repeat the request when its progress is hand_over again. Where shipping never answers, cancel it.',
  },
  amend_only_less: {
    status: 422,
    title: 'An order can only be amended to less',
    cure: 'Place another order for what is wanted beside it; the quantities that there are, are in errors.',
  },
  amend_leaves_nothing: {
    status: 422,
    title: 'Nothing would be left of the order',
    cure: 'Cancel it.',
  },
  not_on_order: {
    status: 422,
    title: 'A product is not on the order',
    cure: 'Leave out the lines in errors.',
  },
  order_not_refundable: {
    status: 409,
    title: 'Nothing was paid for the order',
    cure: 'Cancel it, if it has not left; money is taken when it does.',
  },
  refund_too_much: {
    status: 409,
    title: 'There is not so much to pay back',
    cure: 'See in errors how many pieces of each product are not paid back yet.',
  },
  nothing_to_refund: {
    status: 409,
    title: 'All of the order is paid back',
    cure: 'There is nothing to do.',
  },
  nothing_to_settle: {
    status: 409,
    title: 'The order needs nobody',
    cure: 'There is nothing to do; its progress says what it waits for.',
  },
  settlement_not_possible: {
    status: 409,
    title: 'This problem cannot be settled so',
    cure: 'Choose a resolution that errors names.',
  },
  settlement_too_early: {
    status: 409,
    title: 'It was asked for only once, and the answer may still come',
    cure: 'Settle it with try_again; when that is not answered in time either, it can be settled otherwise.',
  },
  order_exists: {
    status: 409,
    title: 'There is an order with this id',
    cure: 'Repeat the request; a new id is made for it.',
  },
  order_already_decided: {
    status: 409,
    title: 'The order was decided the other way',
    cure: 'A message contradicts an earlier one: compare the history of the order with what its sender has of it.',
  },
});
