import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// Plain JavaScript without dependencies: bootstrap.mjs needs it before there are any packages.

/**
 * Why `npm ci` must run, or undefined. Compares the two lock files by content and not by time: a checkout of
 * another branch and back makes package-lock.json newer without changing it. npm writes the one in node_modules
 * as its last step, so an install that was cut off shows too.
 */
export function missingPackages(root) {
  if (!existsSync(join(root, 'node_modules'))) return 'node_modules is missing';
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return 'the last installation did not finish';
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (wanted === undefined)
    throw new Error(`${join(root, 'package-lock.json')} is missing or broken: restore it from git.`);
  for (const [path, entry] of Object.entries(wanted)) {
    const there = installed[path];
    if (path === '' || (there === undefined && entry.optional)) continue; // optional: for another platform
    if (there?.version !== entry.version || there?.integrity !== entry.integrity) {
      return `package-lock.json has changed (${path})`;
    }
  }
  const extra = Object.keys(installed).find((path) => wanted[path] === undefined);
  return extra && `package-lock.json has changed (${extra})`;
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** The version and path of the Node that comes as a package, or undefined when it is not there. */
export function packagedNode(root) {
  const folder = join(root, 'node_modules', 'node');
  const path = join(folder, 'bin', 'node');
  if (!existsSync(path)) return undefined;
  return { version: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version, path };
}
