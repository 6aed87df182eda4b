import { defineProblems } from '@sidecart/kit/problem';

/** What shipping may answer beyond the problems that every service has. */
export const problems = defineProblems({
  duplicate_line: {
    status: 422,
    title: 'A product is on more than one line',
    cure: 'Send one line per product, with the quantities added up.',
  },
  more_than_left_to_pack: {
    status: 409,
    title: 'A package would hold more than is left to pack',
    cure: 'Read the shipment: the lines in errors say how many pieces are in no package yet.',
  },
  nothing_left_to_pack: {
    status: 409,
    title: 'Every piece is in a package',
    cure: 'Hand the shipment over.',
  },
  too_many_packages: {
    status: 409,
    title: 'A shipment has at most 100 packages',
    cure: 'Put all that is left into the last one: leave out the lines.',
  },
  not_all_packed: {
    status: 409,
    title: 'Some pieces are in no package',
    cure: 'Pack the pieces in errors, then hand over again. After an amendment, packages that no longer fit are to be packed anew.',
  },
  shipment_not_handed_over: {
    status: 409,
    title: 'The shipment has not left',
    cure: 'Hand it over first.',
  },
  shipment_has_left: {
    status: 409,
    title: 'The shipment has left',
    cure: 'There is no way back: what the customer does not keep is refunded.',
  },
  shipment_cancelled: {
    status: 409,
    title: 'The shipment is cancelled',
    cure: 'Pack and hand over nothing for it; inventory has the pieces on hand again.',
  },
});
