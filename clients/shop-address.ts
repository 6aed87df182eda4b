import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from './errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** In its folder, a shop says where its gateway is. */
const SHOP_FILE = 'shop.json';
const RUN_DIR = join(import.meta.dirname, '..', '.run');

/**
 * The gateway's base URL: the one given, else SIDECART_URL, else that of the shop started from this
 * checkout, or in SIDECART_RUN_DIR.
 * Throws UserError with the cure when there is none, or when nothing answers there.
 */
export async function findShop(given: string | undefined, env: Environment): Promise<string> {
  const shopFile = join(env.SIDECART_RUN_DIR || RUN_DIR, SHOP_FILE);
  const url = baseUrl(given ?? env.SIDECART_URL ?? (await urlFromFile(shopFile)));
  await assertAnswering(url);
  return url;
}

async function urlFromFile(shopFile: string): Promise<string> {
  const text = await readFile(shopFile, 'utf8').catch(() => undefined);
  if (text === undefined) {
    throw new UserError(
      'The shop is not running here. Start it with `npm start`, or name one with --url URL.',
    );
  }
  try {
    const { gatewayUrl } = JSON.parse(text) as { gatewayUrl?: unknown };
    if (typeof gatewayUrl === 'string') return gatewayUrl;
  } catch {
    // Told below: a file without the address and a file that is no JSON need the same cure.
  }
  throw new UserError(
    `${shopFile} does not say where the gateway is. Start the shop again with \`npm start\`.`,
  );
}

function baseUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:\/\//.test(text)) {
    throw new UserError(`${text} is no address of a gateway; expected something like http://127.0.0.1:8080.`);
  }
  return text.replace(/\/+$/, '');
}

async function assertAnswering(url: string): Promise<void> {
  try {
    await fetch(`${url}/livez`, { signal: AbortSignal.timeout(5000) });
  } catch (cause) {
    throw new UserError(`The shop does not answer at ${url}. Is it running? Start it with \`npm start\`.`, {
      cause,
    });
  }
}
