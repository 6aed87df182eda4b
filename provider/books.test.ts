import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../tests/seed.ts';
import { createBooks, type Demand, type Entry, KeyReused } from './books.ts';

const authorise = (token = 'tok_ok', amount = 1000): Demand => ({
  kind: 'authorise',
  reference: 'ord_1',
  amount,
  currency: 'GBP',
  token,
});

function opened(token = 'tok_ok', amount = 1000) {
  const books = createBooks();
  const { operation } = books.perform('a', authorise(token, amount));
  const on = operation.authorisation_id;
  return {
    books,
    capture: (key: string, amount: number) =>
      books.perform(key, { kind: 'capture', authorisationId: on, amount }).operation,
    letGo: (key: string) => books.perform(key, { kind: 'void', authorisationId: on }).operation,
    refund: (key: string, amount: number) =>
      books.perform(key, { kind: 'refund', authorisationId: on, amount, reference: key }).operation,
    moved: () => books.ledger().map(({ kind, amount }) => [kind, amount]),
  };
}

describe('one key', () => {
  test('is one operation, however often it comes', () => {
    const { books, capture, moved } = opened();
    expect(capture('c', 1000)).toEqual(capture('c', 1000));
    expect(books.find('c')).toMatchObject({ state: 'succeeded', amount: 1000 });
    expect(moved()).toEqual([
      ['authorised', 1000],
      ['captured', 1000],
    ]);
  });

  test('with another demand is refused, and moves nothing', () => {
    const { capture, moved } = opened();
    capture('c', 900);
    expect(() => capture('c', 1000)).toThrow(KeyReused);
    expect(moved()).toHaveLength(2);
  });
});

describe('a provider refuses', () => {
  test('to take twice, more than is held, or what was let go', () => {
    const twice = opened();
    twice.capture('c', 600);
    expect(twice.capture('d', 400)).toMatchObject({ state: 'refused', reason: 'already_captured' });
    expect(opened().capture('c', 1001)).toMatchObject({ state: 'refused', reason: 'exceeds_authorised' });
    const gone = opened();
    gone.letGo('v');
    expect(gone.capture('c', 1)).toMatchObject({ state: 'refused', reason: 'voided' });
    expect(gone.letGo('w')).toMatchObject({ state: 'refused', reason: 'voided' });
  });

  test('to let go what it has taken, and to give back more', () => {
    const { capture, letGo, refund } = opened();
    expect(refund('r', 1)).toMatchObject({ state: 'refused', reason: 'exceeds_captured' });
    capture('c', 600);
    expect(letGo('v')).toMatchObject({ state: 'refused', reason: 'already_captured' });
    expect(refund('s', 400)).toMatchObject({ state: 'succeeded' });
    expect(refund('t', 201)).toMatchObject({ state: 'refused', reason: 'exceeds_captured' });
    expect(refund('u', 200)).toMatchObject({ state: 'succeeded' });
  });

  test('a token that it does not know, which is no other name for tok_ok', () => {
    const books = createBooks();
    expect(books.perform('a', authorise('tok_tiemout')).operation).toMatchObject({
      state: 'refused',
      reason: 'unknown_token',
    });
    expect(books.ledger()).toEqual([]);
  });

  test('no token of the document, as unknown', () => {
    const document = readFileSync(new URL('../docs/payments.md', import.meta.url), 'utf8');
    const tokens = new Set(document.match(/`tok_\w+`/g)?.map((token) => token.slice(1, -1)));
    expect(tokens.size).toBe(11);
    for (const token of tokens)
      expect([token, opened(token).books.find('a')?.reason]).not.toEqual([token, 'unknown_token']);
  });

  test('what it knows nothing of', () => {
    const books = createBooks();
    const { operation } = books.perform('c', { kind: 'capture', authorisationId: 'auth_x', amount: 1 });
    expect(operation).toMatchObject({ state: 'refused', reason: 'unknown_authorisation' });
  });

  test.each([
    ['tok_declined', 'card_declined', ({ books }: ReturnType<typeof opened>) => books.find('a')],
    ['tok_capture_refused', 'capture_refused', (o: ReturnType<typeof opened>) => o.capture('c', 1)],
    ['tok_expired', 'authorisation_expired', (o: ReturnType<typeof opened>) => o.capture('c', 1)],
    ['tok_void_refused', 'void_refused', (o: ReturnType<typeof opened>) => o.letGo('v')],
    [
      'tok_refund_refused',
      'refund_refused',
      (o: ReturnType<typeof opened>) => {
        o.capture('c', 1);
        return o.refund('r', 1);
      },
    ],
  ])('%s with %s', (token, reason, act) => {
    expect(act(opened(token))).toMatchObject({ state: 'refused', reason });
  });
});

test('books that were read again go on where they were', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
          kind: fc.constantFrom('authorise', 'capture', 'void', 'refund'),
          amount: fc.integer({ min: 1, max: 5 }),
        }),
        { maxLength: 20 },
      ),
      (steps) => {
        const kept: Entry[] = [];
        let books = createBooks();
        let on = 'auth_0';
        for (const { key, kind, amount } of steps) {
          const demand: Demand =
            kind === 'authorise'
              ? authorise('tok_ok', amount)
              : kind === 'void'
                ? { kind, authorisationId: on }
                : kind === 'capture'
                  ? { kind, authorisationId: on, amount }
                  : { kind: 'refund', authorisationId: on, amount, reference: key };
          try {
            const { operation, entry } = books.perform(key, demand);
            if (operation.kind === 'authorise') on = operation.authorisation_id;
            if (entry) kept.push(JSON.parse(JSON.stringify(entry)) as Entry);
          } catch (err) {
            if (!(err instanceof KeyReused)) throw err;
          }
          const again = createBooks(kept);
          expect(again.ledger()).toEqual(books.ledger());
          books = again;
        }
      },
    ),
    { seed, numRuns: 200 },
  );
});
