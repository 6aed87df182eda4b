import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { ShopError } from './shop-error.ts';

/** A Dapr file that a sidecar goes without. */
interface Fault {
  /** Name of the component, or path of the file that could not even be read as one. */
  what: string;
  why: string;
}

/** How long a log is now: what comes after it belongs to the start that follows. */
export function lengthOf(logFile: string): number {
  return statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * What sidecars could not load since their start, one line per component with its file and the cure. A sidecar says so in its log
 * alone: with `ignoreErrors` it goes on without the component and calls itself healthy.
 * @param sidecars each with its log, and how long that was before the start.
 */
export function componentFaults(
  sidecars: { app: string; logFile: string; from: number }[],
  componentsDir: string,
): string[] {
  const found = new Map<string, { why: string; apps: Set<string> }>();
  for (const { app, logFile, from } of sidecars) {
    for (const { what, why } of faultsIn(logFile, from)) {
      const fault = found.get(what) ?? { why, apps: new Set() };
      found.set(what, { ...fault, apps: fault.apps.add(app) });
    }
  }
  return [...found].map(([what, { why, apps }]) => {
    const file = what.includes('/') ? what : fileOf(what, componentsDir);
    const by = [...apps].sort().join(', ');
    return `${what} could not be loaded by the sidecars of ${by}: ${why}. ${cureOf(file)}`;
  });
}

/** Why messages or requests do not find their way: most often a component that was told of long before, and has left the screen. */
export function noWayThrough(cause: Error, faults: string[], logs: string): ShopError {
  if (faults.length === 0) return new ShopError(cause.message, `see the logs in ${logs}`, { cause });
  const message = [cause.message, ...faults].join('\n');
  return new ShopError(message, `first that of each component; the logs are in ${logs}`, { cause });
}

/** Lines of a sidecar's log are JSON. One that is not is none of those looked for here. */
function faultsIn(logFile: string, from: number): Fault[] {
  if (lengthOf(logFile) === 0) return [];
  const log = readFileSync(logFile);
  // A log that has grown large was set aside at the start.
  const text = log.subarray(from > log.length ? 0 : from).toString();
  return text.split('\n').flatMap((line) => {
    const [, message] = /"msg":("(?:[^"\\]|\\.)*")/.exec(line) ?? [];
    return message === undefined ? [] : faultOf(JSON.parse(message) as string);
  });
}

function faultOf(message: string): Fault[] {
  const [, component, error] = /process component (\S+) error: (.*)$/s.exec(message) ?? [];
  if (component && error) return [{ what: component, why: innermost(error) }];
  const [, file, fault] = /error when parsing manifests yaml resource in (\S+): (.*)$/s.exec(message) ?? [];
  return file && fault ? [{ what: file, why: fault.trim() }] : [];
}

/** Without the codes and the names in front, which say again, and again, that it failed. */
function innermost(error: string): string {
  return error.replace(/^(\[\w+\]: (initialization error occurred for \S+ \([^)]*\): )?)+/, '').trim();
}

/** The one that says this name, whatever it is called. */
function fileOf(component: string, componentsDir: string): string | undefined {
  return globSync('*.{yaml,yml}', { cwd: componentsDir })
    .map((name) => join(componentsDir, name))
    .find((file) => namesIn(file).includes(component));
}

/** None where a file cannot be read: an alias without its anchor (`value: *`) throws. A fault of that file must not hide this one. */
function namesIn(file: string): unknown[] {
  try {
    return parseAllDocuments(readFileSync(file, 'utf8')).map(
      (document) => (document.toJS() as { metadata?: { name?: unknown } } | null)?.metadata?.name,
    );
  } catch {
    return [];
  }
}

function cureOf(file: string | undefined): string {
  if (file === undefined) return 'Cure: see the log of its sidecar';
  const [, source] = /^# Generated from (.*) by `npm run generate`/.exec(readFileSync(file, 'utf8')) ?? [];
  return source
    ? `Cure: in ${file} correct what was edited, or make it anew from ${source} by \`npm run generate\`; then start again`
    : `Cure: correct ${file}, then start again`;
}
