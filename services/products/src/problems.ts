import { defineProblems } from '@sidecart/kit/problem';

/** What products may answer beyond the problems that every service has. */
export const problems = defineProblems({
  product_exists: {
    status: 409,
    title: 'There is another product with this SKU',
    cure: 'Use another SKU, or read the product and change its price.',
  },
  product_not_changeable: {
    status: 409,
    title: 'The product is retired',
    cure: 'A retired product keeps its prices; create another one to sell it again.',
  },
});
