import { randomUUID } from 'node:crypto';

// The provider's own books: what was asked of it, what it did, and every movement of money, once. Nothing here knows of HTTP.

export type Kind = 'authorise' | 'capture' | 'void' | 'refund';

/** What a customer of the provider asks for. */
export type Demand =
  | { kind: 'authorise'; reference: string; amount: number; currency: string; token: string }
  | { kind: 'capture'; authorisationId: string; amount: number }
  | { kind: 'void'; authorisationId: string }
  | { kind: 'refund'; authorisationId: string; amount: number; reference: string };

/** What became of it. The same for every request with the same key. */
export interface Operation {
  key: string;
  kind: Kind;
  authorisation_id: string;
  /** The customer's own name for it. */
  reference: string;
  /** In minor units. */
  amount: number;
  currency: string;
  state: 'succeeded' | 'refused';
  reason?: string;
  at: string;
}

/** Money that was held, taken, let go or given back. */
export interface Movement {
  position: number;
  kind: 'authorised' | 'captured' | 'voided' | 'refunded';
  key: string;
  authorisation_id: string;
  reference: string;
  amount: number;
  currency: string;
  at: string;
}

/** A line of the file that the books are kept in. */
export interface Entry {
  operation: Operation;
  /** The demand as it came, to tell a repetition from another demand under the same key. */
  demand: Demand;
}

export class KeyReused extends Error {}

export interface Books {
  /**
   * Does what is asked, once per key; `entry` is the new line, absent for a repetition.
   * @throws KeyReused when the key stands for another demand.
   */
  perform(key: string, demand: Demand): { operation: Operation; entry?: Entry };
  find(key: string): Operation | undefined;
  /** What the authorisation was paid with. */
  tokenOf(authorisationId: string): string | undefined;
  ledger(): Movement[];
}

interface Authorisation {
  token: string;
  reference: string;
  currency: string;
  authorised: number;
  captured: number | undefined;
  refunded: number;
  voided: boolean;
}

/** What there is to pay with; each has its mishap (docs/payments.md). */
const TOKENS: readonly string[] = [
  'tok_ok',
  'tok_declined',
  'tok_slow',
  'tok_timeout',
  'tok_twice',
  'tok_late',
  'tok_down',
  'tok_capture_refused',
  'tok_void_refused',
  'tok_refund_refused',
  'tok_expired',
];

const MOVEMENTS = {
  authorise: 'authorised',
  capture: 'captured',
  void: 'voided',
  refund: 'refunded',
} as const;

/** @param kept the lines of an earlier run, in their order */
export function createBooks(kept: readonly Entry[] = [], clock: () => Date = () => new Date()): Books {
  const entries = new Map<string, Entry>();
  const authorisations = new Map<string, Authorisation>();
  const movements: Movement[] = [];

  function book(entry: Entry): void {
    const { operation, demand } = entry;
    entries.set(operation.key, entry);
    if (demand.kind === 'authorise') {
      authorisations.set(operation.authorisation_id, {
        token: demand.token,
        reference: demand.reference,
        currency: demand.currency,
        authorised: operation.state === 'succeeded' ? demand.amount : 0,
        captured: undefined,
        refunded: 0,
        voided: false,
      });
    }
    if (operation.state === 'refused') return;
    const authorisation = authorisations.get(operation.authorisation_id);
    if (authorisation) {
      if (demand.kind === 'capture') authorisation.captured = demand.amount;
      if (demand.kind === 'void') authorisation.voided = true;
      if (demand.kind === 'refund') authorisation.refunded += demand.amount;
    }
    const { state: _, reason: __, kind, ...rest } = operation;
    movements.push({ position: movements.length + 1, kind: MOVEMENTS[kind], ...rest });
  }

  function decide(key: string, demand: Demand): Operation {
    const at = clock().toISOString();
    if (demand.kind === 'authorise') {
      const { kind, reference, amount, currency, token } = demand;
      const base = { key, kind, authorisation_id: `auth_${randomUUID()}`, reference, amount, currency, at };
      // A mistyped mishap that went through would be one that a test only believes to have tried.
      if (!TOKENS.includes(token)) return { ...base, state: 'refused', reason: 'unknown_token' };
      return token === 'tok_declined'
        ? { ...base, state: 'refused', reason: 'card_declined' }
        : { ...base, state: 'succeeded' };
    }
    const authorisation = authorisations.get(demand.authorisationId);
    const reason = authorisation ? refusal(demand, authorisation) : 'unknown_authorisation';
    const amount = demand.kind === 'void' ? (authorisation?.authorised ?? 0) : demand.amount;
    return {
      key,
      kind: demand.kind,
      authorisation_id: demand.authorisationId,
      reference: demand.kind === 'refund' ? demand.reference : (authorisation?.reference ?? ''),
      amount,
      currency: authorisation?.currency ?? '',
      ...(reason === undefined ? { state: 'succeeded' as const } : { state: 'refused' as const, reason }),
      at,
    };
  }

  kept.forEach(book);
  return {
    perform(key, demand) {
      const known = entries.get(key);
      if (known) {
        if (JSON.stringify(known.demand) !== JSON.stringify(demand)) throw new KeyReused(key);
        return { operation: known.operation };
      }
      const entry = { operation: decide(key, demand), demand };
      book(entry);
      return { operation: entry.operation, entry };
    },
    find: (key) => entries.get(key)?.operation,
    tokenOf: (authorisationId) => authorisations.get(authorisationId)?.token,
    ledger: () => [...movements],
  };
}

/** Why a provider says no, whatever the token; undefined when it does as it is asked. */
function refusal(demand: Exclude<Demand, { kind: 'authorise' }>, a: Authorisation): string | undefined {
  switch (demand.kind) {
    case 'capture':
      if (a.voided) return 'voided';
      if (a.captured !== undefined) return 'already_captured';
      if (demand.amount > a.authorised) return 'exceeds_authorised';
      if (a.token === 'tok_capture_refused') return 'capture_refused';
      if (a.token === 'tok_expired') return 'authorisation_expired';
      return undefined;
    case 'void':
      if (a.captured !== undefined) return 'already_captured';
      if (a.voided) return 'voided';
      if (a.authorised === 0) return 'not_authorised';
      if (a.token === 'tok_void_refused') return 'void_refused';
      return undefined;
    case 'refund':
      if (demand.amount > (a.captured ?? 0) - a.refunded) return 'exceeds_captured';
      if (a.token === 'tok_refund_refused') return 'refund_refused';
      return undefined;
  }
}
