import type { DeadLetterSummary, DeadLetterView } from '@sidecart/messaging/dead-letters';
import type { Decision } from '@sidecart/messaging/redrive';
import { ShopError } from '../local/shop-error.ts';
import { askingOf } from './ask.ts';
import type { ServiceAccess } from './service-access.ts';

/** The admin API of a service's dead letters, as a person uses it. */
export interface DeadLettersClient {
  list(query: { state?: string | undefined; topic?: string | undefined }): Promise<DeadLetterSummary[]>;
  show(id: string): Promise<DeadLetterView>;
  redrive(id: string): Promise<Decision>;
  discard(id: string, note: string): Promise<Decision>;
  edit(id: string, edit: object): Promise<{ outcome: string }>;
}

const PAGE = 200;
const ANSWER_MS = 10_000;

/**
 * @throws ShopError with what the service said, for an id that is none, or an edit that cannot be used; NoAnswerError for a service
 *   that does not answer.
 */
export function deadLettersOf(service: string, access: ServiceAccess, actor: string): DeadLettersClient {
  const ask = askingOf(service, access, actor, { see: 'npm run dlq -- show' });

  async function call<T>(method: string, path: string, body?: object): Promise<T> {
    const { status, ok, text } = await ask(method, `/admin/dead-letters${path}`, { body, ms: ANSWER_MS });
    if (ok) return JSON.parse(text) as T;
    throw new ShopError(`${service} refused: ${explain(status, text)}`, cureOf(status));
  }

  return {
    async list(query) {
      const items: DeadLetterSummary[] = [];
      for (let before: string | undefined; ; ) {
        const given = Object.entries({ ...query, before, limit: String(PAGE) }).filter(([, value]) => value);
        const page = await call<{ items: DeadLetterSummary[]; next: string | null }>(
          'GET',
          `?${new URLSearchParams(given as [string, string][])}`,
        );
        items.push(...page.items);
        if (page.next === null) return items;
        before = page.next;
      }
    },
    show: (id) => call('GET', `/${id}`),
    redrive: (id) => call('POST', `/${id}/redrive`),
    discard: (id, note) => call('POST', `/${id}/discard`, { note }),
    edit: (id, edit) => call('PUT', `/${id}/message`, edit),
  };
}

function explain(status: number, text: string): string {
  try {
    const {
      title,
      detail,
      errors = [],
    } = JSON.parse(text) as {
      title: string;
      detail?: string;
      errors?: { pointer: string; detail: string }[];
    };
    const faults = errors.map((fault) => `${fault.pointer} ${fault.detail}`.trim());
    return [title, detail, ...faults].filter(Boolean).join('; ');
  } catch {
    return `${status} ${text.slice(0, 200)}`;
  }
}

function cureOf(status: number): string {
  if (status === 404) return '`npm run dlq -- list` shows which there are';
  if (status === 409) return '`npm run dlq -- show` says who decided it, and when';
  if (status === 413) return 'discard it, and have its sender send the data anew, in parts or by reference';
  if (status >= 500)
    return 'try again; if it stays so, look at the log of the service, and whether its database is there';
  if (status === 401) return 'the token is of another start: is this the shop that is meant?';
  return 'correct what it names';
}
