import { DomainError } from '@sidecart/kit/domain-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import {
  decide,
  evolve,
  idempotencyKey,
  initialState,
  type Kind,
  type OperationId,
  type Outcome,
  type Payment,
  type PaymentCommand,
  type PaymentEvent,
} from './payment.ts';

const authorise: PaymentCommand = { type: 'Authorise', amount: 1000, token: 'tok_ok' };
const capture: PaymentCommand = { type: 'Capture', amount: 1000 };
const voiding: PaymentCommand = { type: 'Void' };
const refund = (refundId: string, amount: number): PaymentCommand => ({ type: 'Refund', refundId, amount });

const id = (kind: Kind, ask = 1, refundId?: string): OperationId =>
  refundId === undefined ? { kind, ask } : { kind, refundId, ask };
const yes: Outcome = { state: 'succeeded', authorisationId: 'auth_1' };
const no: Outcome = { state: 'refused', reason: 'no' };
const settle = (operation: OperationId, outcome: Outcome): PaymentCommand => ({
  type: 'Settle',
  operation,
  outcome,
});

const authoriseAsked: PaymentEvent = {
  type: 'OperationAsked',
  operation: id('authorise'),
  amount: 1000,
  token: 'tok_ok',
};
const authorised: PaymentEvent = {
  type: 'PaymentAuthorised',
  operation: id('authorise'),
  amount: 1000,
  authorisationId: 'auth_1',
};
const declined: PaymentEvent = { type: 'PaymentDeclined', operation: id('authorise'), reason: 'no' };
const captureAsked: PaymentEvent = { type: 'OperationAsked', operation: id('capture'), amount: 1000 };
const captured: PaymentEvent = { type: 'PaymentCaptured', operation: id('capture'), amount: 1000 };
const captureRefused = (reason: string, ask = 1): PaymentEvent => ({
  type: 'CaptureRefused',
  operation: id('capture', ask),
  amount: 1000,
  reason,
});
const voidAsked = (ask = 1): PaymentEvent => ({
  type: 'OperationAsked',
  operation: id('void', ask),
  amount: 1000,
});
const voided: PaymentEvent = { type: 'PaymentVoided', operation: id('void') };
const voidRefused = (reason: string, ask = 1): PaymentEvent => ({
  type: 'VoidRefused',
  operation: id('void', ask),
  amount: 1000,
  reason,
});
const voidedByItself: PaymentEvent = { type: 'PaymentVoided' };
const postponed: PaymentEvent = { type: 'VoidPostponed' };
const refundAsked = (refundId: string, amount: number): PaymentEvent => ({
  type: 'OperationAsked',
  operation: id('refund', 1, refundId),
  amount,
});
const refunded = (refundId: string, amount: number): PaymentEvent => ({
  type: 'PaymentRefunded',
  operation: id('refund', 1, refundId),
  refundId,
  amount,
});
const refundRefused = (refundId: string, amount: number, reason: string): PaymentEvent => ({
  type: 'RefundRefused',
  operation: id('refund', 1, refundId),
  amount,
  reason,
});

function given(...events: PaymentEvent[]) {
  const state = events.reduce(evolve, initialState());
  return {
    when(command: PaymentCommand) {
      const run = () => decide(command, state);
      return {
        thenEvents: (...expected: PaymentEvent[]) => expect(run()).toEqual(expected),
        thenRefused(code: string) {
          expect(run).toThrowError(DomainError);
          expect(run).toThrowError(code);
        },
      };
    },
  };
}

const paid = [authoriseAsked, authorised, captureAsked, captured];

describe('authorising', () => {
  test('asks the provider to hold the money', () => {
    given().when(authorise).thenEvents(authoriseAsked);
  });

  test('again with the same amount changes nothing, whatever has become of it', () => {
    given(authoriseAsked).when(authorise).thenEvents();
    given(authoriseAsked, authorised).when(authorise).thenEvents();
    given(authoriseAsked, declined).when(authorise).thenEvents();
    given(...paid)
      .when(authorise)
      .thenEvents();
  });

  test('again with another amount is a contradiction', () => {
    given(authoriseAsked)
      .when({ ...authorise, amount: 1001 })
      .thenRefused('payment_amount_changed');
    given(authoriseAsked, declined)
      .when({ ...authorise, amount: 1001 })
      .thenRefused('payment_amount_changed');
  });

  test('after a void that overtook it holds nothing, whatever the amount', () => {
    given(voidedByItself).when(authorise).thenEvents();
  });

  test('nothing at all is no amount', () => {
    given()
      .when({ ...authorise, amount: 0 })
      .thenRefused('payment_amount_zero');
  });

  test('the answer of the provider is the answer, yes or no', () => {
    given(authoriseAsked)
      .when(settle(id('authorise'), yes))
      .thenEvents(authorised);
    given(authoriseAsked)
      .when(settle(id('authorise'), no))
      .thenEvents(declined);
  });
});

describe('an answer', () => {
  test('that comes again changes nothing, also when it says something else', () => {
    given(authoriseAsked, authorised)
      .when(settle(id('authorise'), yes))
      .thenEvents();
    given(authoriseAsked, authorised)
      .when(settle(id('authorise'), no))
      .thenEvents();
    given(...paid)
      .when(settle(id('capture'), no))
      .thenEvents();
  });

  test('to what was never asked changes nothing', () => {
    given()
      .when(settle(id('authorise'), yes))
      .thenEvents();
    given(authoriseAsked, authorised)
      .when(settle(id('capture'), yes))
      .thenEvents();
  });

  test('to an earlier ask does not settle the later one', () => {
    given(authoriseAsked, authorised, captureAsked, captureRefused('no'), {
      ...captureAsked,
      operation: id('capture', 2),
    } as PaymentEvent)
      .when(settle(id('capture'), yes))
      .thenEvents();
  });
});

describe('capturing', () => {
  test('takes the money, or a part of it', () => {
    given(authoriseAsked, authorised).when(capture).thenEvents(captureAsked);
    given(authoriseAsked, authorised)
      .when({ type: 'Capture', amount: 1 })
      .thenEvents({ type: 'OperationAsked', operation: id('capture'), amount: 1 });
    given(authoriseAsked, authorised, captureAsked)
      .when(settle(id('capture'), yes))
      .thenEvents(captured);
  });

  test('again changes nothing; with another amount it is a contradiction', () => {
    given(authoriseAsked, authorised, captureAsked).when(capture).thenEvents();
    given(...paid)
      .when(capture)
      .thenEvents();
    given(...paid)
      .when({ type: 'Capture', amount: 999 })
      .thenRefused('payment_amount_changed');
  });

  test('more than is held is refused without asking', () => {
    given(authoriseAsked, authorised)
      .when({ type: 'Capture', amount: 1001 })
      .thenEvents({
        type: 'CaptureRefused',
        operation: id('capture'),
        amount: 1001,
        reason: 'exceeds_authorised',
      });
  });

  test('that the provider refuses leaves the money held, and may be asked again, under another key', () => {
    given(authoriseAsked, authorised, captureAsked)
      .when(settle(id('capture'), no))
      .thenEvents(captureRefused('no'));
    given(authoriseAsked, authorised, captureAsked, captureRefused('no'))
      .when(capture)
      .thenEvents({ ...captureAsked, operation: id('capture', 2) } as PaymentEvent);
  });

  test('of money that is not held, or being let go, is refused', () => {
    given(authoriseAsked, declined).when(capture).thenEvents(captureRefused('declined'));
    given(voidedByItself).when(capture).thenEvents(captureRefused('voided'));
    given(authoriseAsked, authorised, voidAsked()).when(capture).thenEvents(captureRefused('voiding'));
  });

  test('of what was never held is a contradiction: nobody was told that it is', () => {
    given().when(capture).thenRefused('payment_not_authorised');
    given(authoriseAsked).when(capture).thenRefused('payment_not_authorised');
  });
});

describe('voiding', () => {
  test('ahead of the authorisation is remembered and answered', () => {
    given().when(voiding).thenEvents(voidedByItself);
  });

  test('lets go of what is held', () => {
    given(authoriseAsked, authorised).when(voiding).thenEvents(voidAsked());
    given(authoriseAsked, authorised, voidAsked())
      .when(settle(id('void'), yes))
      .thenEvents(voided);
  });

  test('while the authorisation is under way waits for it, and then voids', () => {
    given(authoriseAsked).when(voiding).thenEvents(postponed);
    given(authoriseAsked, postponed)
      .when(settle(id('authorise'), yes))
      .thenEvents(authorised, voidAsked());
  });

  test('while an authorisation is under way that is declined needs nothing more', () => {
    given(authoriseAsked, postponed)
      .when(settle(id('authorise'), no))
      .thenEvents(declined, voidedByItself);
  });

  test('after a decline is answered', () => {
    given(authoriseAsked, declined).when(voiding).thenEvents(voidedByItself);
  });

  test('while the capture is under way is refused once that is done, and done once that is refused', () => {
    given(authoriseAsked, authorised, captureAsked).when(voiding).thenEvents(postponed);
    given(authoriseAsked, authorised, captureAsked, postponed)
      .when(settle(id('capture'), yes))
      .thenEvents(captured, voidRefused('captured'));
    given(authoriseAsked, authorised, captureAsked, postponed)
      .when(settle(id('capture'), no))
      .thenEvents(captureRefused('no'), voidAsked());
  });

  test('what is taken already is refused', () => {
    given(...paid)
      .when(voiding)
      .thenEvents(voidRefused('captured'));
  });

  test('again changes nothing', () => {
    given(authoriseAsked, postponed).when(voiding).thenEvents();
    given(authoriseAsked, authorised, voidAsked()).when(voiding).thenEvents();
    given(authoriseAsked, authorised, voidAsked(), voided).when(voiding).thenEvents();
    given(voidedByItself).when(voiding).thenEvents();
  });

  test('that the provider refuses may be asked again, under another key', () => {
    given(authoriseAsked, authorised, voidAsked())
      .when(settle(id('void'), no))
      .thenEvents(voidRefused('no'));
    given(authoriseAsked, authorised, voidAsked(), voidRefused('no')).when(voiding).thenEvents(voidAsked(2));
  });
});

describe('refunding', () => {
  test('gives back a part, and another', () => {
    given(...paid)
      .when(refund('a', 300))
      .thenEvents(refundAsked('a', 300));
    given(...paid, refundAsked('a', 300))
      .when(settle(id('refund', 1, 'a'), yes))
      .thenEvents(refunded('a', 300));
    given(...paid, refundAsked('a', 300), refunded('a', 300))
      .when(refund('b', 700))
      .thenEvents(refundAsked('b', 700));
  });

  test('again changes nothing; with another amount it is a contradiction', () => {
    given(...paid, refundAsked('a', 300))
      .when(refund('a', 300))
      .thenEvents();
    given(...paid, refundAsked('a', 300), refunded('a', 300))
      .when(refund('a', 300))
      .thenEvents();
    given(...paid, refundAsked('a', 300))
      .when(refund('a', 301))
      .thenRefused('payment_amount_changed');
  });

  test('more than is left is refused, counting what is under way', () => {
    given(...paid)
      .when(refund('a', 1001))
      .thenEvents(refundRefused('a', 1001, 'exceeds_captured'));
    given(...paid, refundAsked('a', 300), refunded('a', 300))
      .when(refund('b', 701))
      .thenEvents(refundRefused('b', 701, 'exceeds_captured'));
    given(...paid, refundAsked('a', 300))
      .when(refund('b', 701))
      .thenEvents(refundRefused('b', 701, 'exceeds_captured'));
  });

  test('that was refused is never asked for again under its id, but its money is free for another', () => {
    const before = [...paid, refundAsked('a', 300), refundRefused('a', 300, 'no')];
    given(...before)
      .when(refund('a', 300))
      .thenEvents();
    given(...before)
      .when(refund('b', 1000))
      .thenEvents(refundAsked('b', 1000));
  });

  test('of what was not taken is refused; of an order that nobody knows it is a contradiction', () => {
    given(authoriseAsked, authorised)
      .when(refund('a', 1))
      .thenEvents(refundRefused('a', 1, 'exceeds_captured'));
    given().when(refund('a', 1)).thenRefused('payment_not_captured');
  });
});

test('the key of an operation tells it from every other, and never changes', () => {
  const keys = [
    ...(['authorise', 'capture', 'void'] as const).flatMap((kind) => [id(kind), id(kind, 2)]),
    id('refund', 1, 'a'),
    id('refund', 1, 'b'),
  ].map((operation) => idempotencyKey('ord_1', operation));
  expect(new Set(keys).size).toBe(keys.length);
  expect(keys).toContain('ord_1.authorise');
  expect(keys).toContain('ord_1.capture.2');
  expect(keys).toContain('ord_1.refund.a');
});

describe('any commands in any order', () => {
  const command = fc.oneof(
    fc.constant(authorise),
    fc.integer({ min: 1, max: 1100 }).map((amount): PaymentCommand => ({ type: 'Capture', amount })),
    fc.constant(voiding),
    fc
      .tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 600 }))
      .map(([refundId, amount]) => refund(refundId, amount)),
    fc
      .tuple(
        fc.constantFrom<OperationId>(
          id('authorise'),
          id('capture'),
          id('capture', 2),
          id('void'),
          id('void', 2),
          id('refund', 1, 'a'),
          id('refund', 1, 'b'),
          id('refund', 1, 'c'),
        ),
        fc.constantFrom(yes, no),
      )
      .map(([operation, outcome]) => settle(operation, outcome)),
  );

  /** What a state must never be, in words. */
  function wrong(state: Payment, events: PaymentEvent[]): string[] {
    const asked = events
      .filter(({ type }) => type === 'OperationAsked')
      .map((event) => JSON.stringify(event));
    const underWay = state.operations.filter(({ state, kind }) => state === 'pending' && kind !== 'refund');
    return [
      ...(state.refunded <= state.captured && state.captured <= state.authorised ? [] : ['unbalanced']),
      ...(new Set(asked).size === asked.length ? [] : ['asked twice']),
      ...(underWay.length <= 1 ? [] : ['two things under way at once']),
      ...(state.status === 'voided' && state.captured > 0 ? ['taken and let go'] : []),
    ];
  }

  function run(commands: PaymentCommand[], step = decide): string[] {
    let state = initialState();
    const all: PaymentEvent[] = [];
    for (const command of commands) {
      try {
        for (const event of step(command, state)) {
          all.push(event);
          state = evolve(state, event);
        }
      } catch (err) {
        if (!(err instanceof DomainError)) throw err;
      }
    }
    return wrong(state, all);
  }

  test('never take more than is held, give back more than was taken, or ask twice', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        expect(run(commands)).toEqual([]);
      }),
      { seed, numRuns: 2000 },
    );
  });

  test('control: without the rule for the first answer, they do', () => {
    const careless: typeof decide = (command, state) =>
      command.type === 'Settle' && command.operation.kind === 'refund'
        ? [refunded(command.operation.refundId ?? '', 600)]
        : decide(command, state);
    expect(
      fc.check(
        fc.property(fc.array(command, { maxLength: 40 }), (commands) => run(commands, careless).length === 0),
        { numRuns: 2000 },
      ).failed,
    ).toBe(true);
  });
});
