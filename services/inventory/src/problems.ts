import { defineProblems } from '@sidecart/kit/problem';

/** What inventory may answer beyond the problems that every service has. */
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
  confirmed_without_reservation: {
    status: 409,
    title: 'An order was confirmed for which nothing is set aside',
    cure: 'A message contradicts an earlier one: compare the order with the reservation in inventory.',
  },
  more_than_left_to_release: {
    status: 409,
    title: 'More pieces are to go back than the order has left',
    cure: 'A message contradicts an earlier one: compare the order with the reservation in inventory.',
  },
  part_released_differently: {
    status: 409,
    title: 'Other pieces went back under the same id',
    cure: 'A message contradicts an earlier one: compare the order with the reservation in inventory.',
  },
});
