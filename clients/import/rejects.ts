import { open, realpath } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { UserError } from '../errors.ts';
import type { RetailFile } from '../retail/records.ts';

export interface RejectFile {
  readonly path: string;
  add(line: number, reasons: readonly string[], raw: string): Promise<void>;
  close(): Promise<void>;
}

/** `sales.csv` becomes `sales.rejects.csv` in `folder`: the folder of the file itself is often read-only. */
export function rejectPath(input: string, folder: string): string {
  return join(folder, `${basename(input, extname(input))}.rejects.csv`);
}

/**
 * Starts a reject file anew: the line number and the reasons, then the record just as it stands in the file, in
 * the same encoding; so a mended reject file can be imported as it is. Throws UserError rather than write over the
 * input.
 */
export async function createRejectFile(
  path: string,
  input: string,
  from: Pick<RetailFile, 'header' | 'encoding'>,
): Promise<RejectFile> {
  const existing = await realpath(path).catch(() => undefined);
  if (existing !== undefined && existing === (await realpath(input))) {
    throw new UserError(
      `The rejects would be written over ${input} itself; name another file with --rejects.`,
    );
  }
  const file = await open(path, 'w').catch((cause: Error) => {
    throw new UserError(`Cannot write ${path}: ${cause.message}. Name another file with --rejects.`, {
      cause,
    });
  });
  const write = (text: string) => file.write(text, null, from.encoding);

  await write(`${from.encoding === 'utf8' ? '\uFEFF' : ''}Line,Reason,${from.header}\n`);
  return {
    path,
    async add(line, reasons, raw) {
      await write(`${line},${reasons.join('; ')},${raw}\n`);
    },
    close: () => file.close(),
  };
}
