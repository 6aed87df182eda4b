import { z } from 'zod';

// What goes wrong on purpose: with a single payment by its token, as the test tokens of providers do, or with everything.

export const Faults = z.strictObject({
  /** Every request is answered with 503 and not worked on. */
  down: z.boolean().optional(),
  /** Every answer takes so much longer. */
  slowMs: z.int().min(0).max(60_000).optional(),
  /** So many answers are lost: the request is worked on, then the connection is cut. */
  dropAnswers: z.int().min(0).max(100_000).optional(),
  /** With it, one answer in two is lost until that many were: which ones, the seed decides. */
  seed: z.int().optional(),
});
export type Faults = z.infer<typeof Faults>;

export interface Mishaps {
  set(faults: Faults): void;
  /** Before a request is worked on. */
  before(key: string, token: string | undefined): { down: boolean };
  /** After it was worked on, the so-manieth time. */
  after(key: string, token: string | undefined): { mishap: 'none' | 'silence' | 'lost'; waitMs: number };
  /** The webhook of that key has gone out. */
  told(key: string): void;
  /** How the provider tells of an operation. */
  webhooks(token: string | undefined): { times: number; delayMs: number };
}

export interface Pace {
  /** `tok_slow`, default 2000. */
  slowMs?: number | undefined;
  /** `tok_late`, default 5000. */
  lateMs?: number | undefined;
}

/** How often `tok_down` is not worked on. */
const DOWN_TIMES = 3;

export function createMishaps({ slowMs = 2000, lateMs = 5000 }: Pace = {}): Mishaps {
  let faults: Faults = {};
  let random = generator(0);
  let dropped = 0;
  const refused = new Map<string, number>();
  const answered = new Set<string>();
  const told = new Set<string>();

  function drops(): boolean {
    if (dropped >= (faults.dropAnswers ?? 0)) return false;
    if (faults.seed !== undefined && random() < 0.5) return false;
    dropped += 1;
    return true;
  }

  return {
    set(next) {
      faults = next;
      random = generator(next.seed ?? 0);
      dropped = 0;
    },
    before(key, token) {
      if (faults.down) return { down: true };
      if (token !== 'tok_down') return { down: false };
      const times = refused.get(key) ?? 0;
      refused.set(key, times + 1);
      return { down: times < DOWN_TIMES };
    },
    after(key, token) {
      const again = answered.has(key);
      answered.add(key);
      const waitMs = (faults.slowMs ?? 0) + (token === 'tok_slow' ? slowMs : 0);
      if (drops() || (token === 'tok_late' && !told.has(key))) return { mishap: 'lost', waitMs };
      if (token === 'tok_timeout' && !again) return { mishap: 'silence', waitMs };
      return { mishap: 'none', waitMs };
    },
    told(key) {
      told.add(key);
    },
    webhooks: (token) => ({
      times: token === 'tok_twice' ? 2 : 1,
      delayMs: token === 'tok_late' ? lateMs : 0,
    }),
  };
}

/** Mulberry32: small, and the same on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
