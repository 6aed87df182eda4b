import { readFileSync } from 'node:fs';
import getPort, { clearLockedPorts } from 'get-port';
import { ShopError } from './shop-error.ts';

/** From 32768 on the system hands out ports to outgoing connections, which would now and then be in the way. */
export const HIGHEST_PORT = 32_767;

/** A port that a part of the shop wants. The name is also the one of its environment variable (`portVariable`). */
export interface PortRequest {
  name: string;
  preferred: number;
}

export interface PortChoice {
  requests: PortRequest[];
  /** Ports of the last start, by name: kept while they are free. */
  remembered: Record<string, number>;
  env: Record<string, string | undefined>;
  /** Ports that other running shops have for themselves, in use at this moment or not. */
  claimed: ReadonlySet<number>;
}

/** `orders-dapr-http` is set by `SIDECART_PORT_ORDERS_DAPR_HTTP`. */
export const portVariable = (name: string) => `SIDECART_PORT_${name.toUpperCase().replaceAll('-', '_')}`;

/**
 * Chooses a free port for every request: the one set by environment, or the one of the last start, or the preferred
 * one, or the next free one after it.
 * @throws ShopError when a port set by environment is no port, or is taken.
 */
export async function choosePorts(choice: PortChoice): Promise<Record<string, number>> {
  const fixed = overrides(choice);
  const wishes = choice.requests.map(({ name, preferred }) => ({
    name,
    first: fixed.get(name) ?? choice.remembered[name] ?? preferred,
    preferred,
  }));
  const chosen: Record<string, number> = {};
  const used = new Set(choice.claimed);
  for (const wish of wishes) {
    const others = wishes.filter((other) => other.name !== wish.name).map((other) => other.first);
    const port = fixed.has(wish.name)
      ? await exactly(wish.first, wish.name, used)
      : ((await firstFree([wish.first], used)) ??
        (await firstFree(upwards(wish.preferred), new Set([...used, ...others]))));
    if (port === undefined)
      throw new ShopError(
        `no free port was found for ${wish.name}`,
        `set ${portVariable(wish.name)} to a free port`,
      );
    used.add(port);
    chosen[wish.name] = port;
  }
  return chosen;
}

/** Variables that look like one of a port and are none, for a warning: a misspelt one would be ignored in silence. */
export function unknownPortVariables(
  env: Record<string, string | undefined>,
  requests: PortRequest[],
): string[] {
  const known = new Set(requests.map(({ name }) => portVariable(name)));
  return Object.keys(env).filter((name) => name.startsWith('SIDECART_PORT_') && !known.has(name));
}

/** Which parts are elsewhere than they would like to be, and why, as one line; nothing where all are, or where it was asked for. */
export function movedPorts(
  { requests, remembered, env, claimed }: PortChoice,
  chosen: Record<string, number>,
): string | undefined {
  const moved = requests.filter(
    ({ name, preferred }) => chosen[name] !== preferred && !env[portVariable(name)],
  );
  if (moved.length === 0) return undefined;
  // Whoever looks for a page looks for one of a service, not of a sidecar.
  const sorted = moved.toSorted((a, b) => Number(isOfSidecar(a)) - Number(isOfSidecar(b)));
  const why = ({ name, preferred }: PortRequest) => {
    if (claimed.has(preferred)) return `${preferred} belongs to another shop`;
    return remembered[name] === chosen[name]
      ? `as at the last start, not ${preferred}`
      : `${preferred} is taken`;
  };
  const named = sorted
    .slice(0, 3)
    .map((request) => `${request.name} ${chosen[request.name]} (${why(request)})`);
  const more = moved.length > named.length ? [`${moved.length - named.length} more`] : [];
  const [first] = sorted as [PortRequest];
  return `not on the usual ports: ${[...named, ...more].join(', ')}. To choose one: ${portVariable(first.name)}=PORT`;
}

const isOfSidecar = ({ name }: PortRequest) => /-dapr-\w+$/.test(name);

/** One free port of no fixed number, for a test. */
export async function freePort(): Promise<number> {
  const start = 20_000 + Math.floor(Math.random() * 8_000);
  const port = await firstFree(upwards(start), new Set());
  if (port === undefined) throw new Error('no free port');
  return port;
}

/** Ports of the last start, or none. */
export function readPorts(file: string): Record<string, number> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
  } catch {
    return {};
  }
}

function overrides({ requests, env }: PortChoice): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name } of requests) {
    const text = env[portVariable(name)];
    if (text === undefined || text === '') continue;
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new ShopError(
        `${portVariable(name)}=${text} is no port`,
        'set it to a number from 1 to 65535, or unset it',
      );
    found.set(name, port);
  }
  return found;
}

async function exactly(port: number, name: string, used: ReadonlySet<number>): Promise<number> {
  if (await firstFree([port], used)) return port;
  throw new ShopError(
    `port ${port}, set by ${portVariable(name)}, is taken`,
    `set ${portVariable(name)} to a free port, or unset it and let the runner choose`,
  );
}

/** Free on every address of this machine, for one part (sentry) listens on all of them. */
async function firstFree(candidates: number[], used: ReadonlySet<number>): Promise<number | undefined> {
  // The library keeps what it handed out aside for a while; here the choice is written down instead.
  clearLockedPorts();
  const wanted = candidates.filter((port) => !used.has(port));
  if (wanted.length === 0) return undefined;
  const port = await getPort({ port: wanted });
  return wanted.includes(port) ? port : undefined;
}

function upwards(from: number): number[] {
  const start = Math.min(from, HIGHEST_PORT - 1_000);
  return Array.from({ length: HIGHEST_PORT - start + 1 }, (_, i) => start + i);
}
