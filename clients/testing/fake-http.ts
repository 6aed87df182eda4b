import type { Ask } from '../gateway-client.ts';

/** What a fake service makes of a request; undefined when the request is none of its own. */
export type Serve = (ask: Ask, path: string[], query: URLSearchParams) => FakeAnswer | undefined;

export interface FakeAnswer {
  status: number;
  body: unknown;
}

/** What all parts of the fake share. */
export interface FakeWorld {
  today: string;
  requests: string[];
  /** Of this moment: later at every call, so that what has changed can be told. */
  now(): string;
  /** `ord_00000000-0000-7000-8000-000000000001`, then 2, and so on. */
  newId(prefix: string): string;
}

export function ok(body: unknown, status = 200): FakeAnswer {
  return { status, body };
}

export function problem(status: number, code: string, errors?: object[]): FakeAnswer {
  return { status, body: { code, title: code, ...(errors && { errors }) } };
}

/** A list as the shop answers it, by `limit` and `cursor`. */
export function page(items: unknown[], query: URLSearchParams): FakeAnswer {
  const start = Number(query.get('cursor') ?? 0);
  const end = start + Number(query.get('limit') ?? 50);
  const more = end < items.length && { next_cursor: String(end) };
  return ok({ items: items.slice(start, end), ...more });
}

export function createWorld(today: string): FakeWorld {
  let moment = Date.parse(`${today}T12:00:00.000Z`);
  let ids = 0;
  return {
    today,
    requests: [],
    now() {
      moment++;
      return new Date(moment).toISOString();
    },
    newId(prefix) {
      ids++;
      return `${prefix}_00000000-0000-7000-8000-${String(ids).padStart(12, '0')}`;
    },
  };
}
