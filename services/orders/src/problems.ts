import { defineProblems } from '@sidecart/kit/problem';

/** What orders may answer beyond the problems that every service has. */
export const problems = defineProblems({
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
    title: 'A rejected order cannot be cancelled',
    cure: 'There is nothing to cancel: no stock is set aside for it.',
  },
  order_exists: {
    status: 409,
    title: 'There is an order with this id',
    cure: 'Repeat the request; a new id is made for it.',
  },
  order_already_decided: {
    status: 409,
    title: 'The order was decided the other way',
    cure: 'A message contradicts an earlier one: compare the order with the reservation in inventory.',
  },
});
