import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { postgresPlace } from '../local/postgres-place.ts';
import type { Certified } from './certificates.ts';

/** The settings with which the server on `dataDir` speaks TLS, to those who ask for it. */
export function postgresTls(dataDir: string, certified: Certified): Record<string, string> {
  const { folder, user } = postgresPlace(dataDir);
  const put = (name: string, content: string) => {
    const file = join(folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    if (user) chownSync(file, user.uid, user.gid);
    return file;
  };
  return {
    ssl: 'on',
    ssl_cert_file: put('server.crt', certified.cert),
    ssl_key_file: put('server.key', certified.key),
  };
}
