import { readFileSync } from 'node:fs';
import { runPaths } from './run-paths.ts';
import type { ProcessInfo } from './shop.ts';
import { ShopError } from './shop-error.ts';

/** What a shop that is ready tells of itself, in `shop.json` of its run folder; written anew whenever a process became ready again. */
export interface ShopFile {
  gatewayUrl: string;
  /** Of the runner. */
  pid: number;
  /** Name of the broker's process. */
  broker: string;
  processes: ProcessInfo[];
}

/**
 * Undefined when no shop is ready in this folder.
 * @throws ShopError when the file is there and cannot be read.
 */
export function readShopFile(runDir: string): ShopFile | undefined {
  const file = runPaths(runDir).shop;
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ShopFile;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ShopError(
      `${file} cannot be read: ${(cause as Error).message}`,
      'run this as the user who started the shop; if that is so, start the shop again with `npm start`',
      { cause },
    );
  }
}
