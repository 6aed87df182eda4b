import { readFileSync } from 'node:fs';
import { ShopError } from './shop-error.ts';

/** An existing user without rights of its own. */
export interface UnprivilegedUser {
  name: string;
  uid: number;
  gid: number;
}

/**
 * Whom PostgreSQL runs as when the runner is root: a user that is there already. None is ever created. `nobody` before
 * `postgres`, which owns the data of another server where one is installed.
 */
export function unprivilegedUser(passwd = readFileSync('/etc/passwd', 'utf8')): UnprivilegedUser {
  const users = passwd.split('\n').map((line) => line.split(':'));
  for (const wanted of ['nobody', 'postgres']) {
    const [name, , uid, gid] = users.find(([candidate]) => candidate === wanted) ?? [];
    if (name && Number(uid) > 0) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new ShopError(
    'PostgreSQL refuses to run as root, and there is neither a user `nobody` nor a user `postgres` to run it as',
    'start as an ordinary user',
  );
}
