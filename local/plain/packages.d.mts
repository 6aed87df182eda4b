/** Why `npm ci` must run in this checkout, or undefined when its packages are those of package-lock.json. */
export function missingPackages(root: string): string | undefined;
/** The version of the Node that comes as a package, or undefined when it is not there. */
export function packagedNode(root: string): { version: string; path: string } | undefined;
