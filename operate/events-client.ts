import type { Condensing } from '@sidecart/event-sourcing/history';
import { eventStoreProblems } from '@sidecart/event-sourcing/problems';
import { ShopError } from '../local/shop-error.ts';
import { askingOf } from './ask.ts';
import type { ServiceAccess } from './service-access.ts';

export interface ProjectionStatus {
  name: string;
  generation: number;
  code_version: number;
  state: 'live' | 'building' | 'retired';
  behind: number;
  built: number;
  to_build: number;
  foreign: boolean;
}

export interface StoreStatus {
  /** Of its streams. */
  types: string[];
  /** Of the projections that its code has. */
  names: string[];
  items: ProjectionStatus[];
}

export interface History {
  stream_id: string;
  type: string;
  events: { version: number; at: string; type: string; data: object; meta: Record<string, string> }[];
  condensings: Condensing[];
}

export interface PolicyPage {
  condensed: number;
  events: number;
  open: number;
  refused: Record<string, { streams: number; example: string }>;
  next: string | null;
}

/** The admin API of a service's event store, as a person uses it. */
export interface EventsClient {
  /** Undefined: the service has no event store. */
  status(): Promise<StoreStatus | undefined>;
  /** What the service says of its read models when they cannot be kept up to date. */
  trouble(): Promise<string | undefined>;
  rebuild(name: string): Promise<{ outcome: 'begun' | 'already_building' }>;
  forget(name: string): Promise<void>;
  show(
    stream: string,
    at: string | undefined,
  ): Promise<{ stream_id: string; type: string; version: number; state: object }>;
  history(stream: string): Promise<History>;
  condense(
    stream: string,
    o: { reason: string; up_to?: number },
  ): Promise<{ from_version: number; to_version: number; events: number }>;
  restore(
    stream: string,
    o: { reason: string },
  ): Promise<{ from_version: number; to_version: number; more: number }>;
  condensePage(o: {
    reason: string;
    type: string;
    age_days: number;
    events: number;
    closed: boolean;
    after: string;
  }): Promise<PolicyPage>;
  adopt(): Promise<{ events: number; projections: string[] }>;
}

const ANSWER_MS = 10_000;
/** Of what goes through many events, or far away to an archive. */
const LONG_MS = 120_000;
/** Of what goes through all of them. */
const LONGEST_MS = 3_600_000;

/**
 * @throws ShopError with what the service said and what to do about it, or that it does not answer.
 */
export function eventsOf(
  service: string,
  access: ServiceAccess,
  actor: string,
  answerMs = ANSWER_MS,
): EventsClient {
  const ask = askingOf(service, access, actor, { see: 'npm run events -- status' });

  async function call<T>(method: string, path: string, body?: object, ms = answerMs): Promise<T> {
    const { status, ok, text } = await ask(method, `/admin/events${path}`, { body, ms });
    if (ok) return JSON.parse(text) as T;
    throw refusal(service, status, text);
  }

  const at = (stream: string) => `/streams/${encodeURIComponent(stream)}`;
  return {
    async status() {
      const { status, ok, text } = await ask('GET', '/admin/events/projections', { ms: answerMs });
      if (ok) return JSON.parse(text) as StoreStatus;
      if (status === 404) return undefined;
      throw refusal(service, status, text);
    },
    async trouble() {
      const { ok, text } = await ask('GET', '/healthz', { ms: answerMs });
      const { components } = (ok ? JSON.parse(text) : {}) as {
        components?: Record<string, { status: string; reason?: string }>;
      };
      return components?.projections?.reason;
    },
    rebuild: (name) => call('POST', `/projections/${encodeURIComponent(name)}/rebuild`),
    forget: (name) => call('DELETE', `/projections/${encodeURIComponent(name)}`),
    show: (stream, moment) =>
      call('GET', at(stream) + (moment === undefined ? '' : `?at=${encodeURIComponent(moment)}`)),
    history: (stream) => call('GET', `${at(stream)}/history`, undefined, LONG_MS),
    condense: (stream, o) => call('POST', `${at(stream)}/condense`, o, LONG_MS),
    restore: (stream, o) => call('POST', `${at(stream)}/restore`, o, LONG_MS),
    condensePage: (o) => call('POST', '/condense', o, LONG_MS),
    adopt: () => call('POST', '/adopt', undefined, LONGEST_MS),
  };
}

/** The service's own words, and the cure of the code that it named. */
export function refusal(service: string, status: number, text: string): ShopError {
  const { code, title, detail, errors = [] } = problemIn(text);
  const faults = errors.map((fault) => `${fault.pointer} ${fault.detail}`.trim());
  const said = [title ?? `${status} ${text.slice(0, 200)}`, detail, ...faults].filter(Boolean).join('; ');
  const known = code !== undefined && Object.hasOwn(eventStoreProblems, code);
  const cure = known ? eventStoreProblems[code as keyof typeof eventStoreProblems].cure : cureOf(status);
  return new ShopError(`${service} refused: ${said}`, cure);
}

function problemIn(text: string): {
  code?: string;
  title?: string;
  detail?: string;
  errors?: { pointer: string; detail: string }[];
} {
  try {
    return JSON.parse(text) as ReturnType<typeof problemIn>;
  } catch {
    return {};
  }
}

function cureOf(status: number): string {
  if (status === 401) return 'the token is of another start: is this the shop that is meant?';
  if (status >= 500) return 'try again; if it stays so, look at the log of the service';
  return 'correct what it names';
}
