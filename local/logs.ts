import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';

const KEEP_BYTES = 10 * 1024 * 1024;

/**
 * Opens a log for appending and returns its file descriptor. A log that has grown large is set aside first (one
 * generation is kept), so a folder of logs stays bounded however often the shop is started.
 */
export function openLog(file: string, keepBytes = KEEP_BYTES): number {
  if (existsSync(file) && statSync(file).size > keepBytes) renameSync(file, `${file}.1`);
  return openSync(file, 'a', 0o600);
}

/** Runs `use` with an open log and closes it in this process afterwards; a child keeps its own copy. */
export function withLog<T>(file: string, use: (fd: number) => T): T {
  const fd = openLog(file);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** The last lines of a log, for a message that should spare the reader a second step. */
export function logTail(file: string, lines = 8): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}

/**
 * What a service says of its end when it does not start, or ends itself: the last line of its log, if that is of level `fatal` and was
 * written since then. An older one is of a start before, which need not have ended for the same reason.
 */
export function lastWords(file: string, since: Date): { reason: string; cure?: string } | undefined {
  try {
    const { level, time, message, err, cure } = JSON.parse(logTail(file, 1)) as Record<string, unknown>;
    if (level !== 'fatal' || !(new Date(String(time)) >= since)) return undefined;
    const reason = String((err as { message?: string } | undefined)?.message ?? message);
    return { reason, ...(cure !== undefined && !reason.includes(String(cure)) && { cure: String(cure) }) };
  } catch {
    return undefined; // no JSON: it did not come so far
  }
}
