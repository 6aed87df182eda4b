import { expect, test } from 'vitest';
import { unprivilegedUser } from './unprivileged-user.ts';

const root = 'root:x:0:0:root:/root:/bin/bash';
const nobody = 'nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin';

const postgres = 'postgres:x:101:102::/:/bin/sh';

test('takes nobody, or else the user of a PostgreSQL that is installed', () => {
  expect(unprivilegedUser([root, postgres, nobody].join('\n'))).toEqual({
    name: 'nobody',
    uid: 65534,
    gid: 65533,
  });
  expect(unprivilegedUser([root, postgres].join('\n')).name).toBe('postgres');
});

test('never takes root, and says the cure', () => {
  expect(() => unprivilegedUser([root, 'nobody:x:0:0::/:/bin/sh'].join('\n'))).toThrow(/neither/);
});
