import { existsSync, renameSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'vitest';
import { skip } from './cluster/skip.ts';

const ARCHITECTURES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'];

/** A wall clock for one process and its children, that can be moved while they run. */
export interface Clock {
  /** To be added to the environment of the process. */
  env: Record<string, string>;
  /** Puts it so many hours from the real one. */
  set(hours: number): void;
}

/** @param file is where the clock's state is; the process has to be able to read it. */
export function movableClock(context: TestContext, file: string): Clock {
  const library = ARCHITECTURES.map((name) => `/usr/lib/${name}/faketime/libfaketimeMT.so.1`).find((path) =>
    existsSync(path),
  );
  if (library === undefined)
    skip(context, 'libfaketime is not installed (Debian: apt-get install libfaketime)');
  const set = (hours: number) => {
    writeFileSync(`${file}.new`, `${hours < 0 ? '' : '+'}${hours}h`, { mode: 0o644 });
    renameSync(`${file}.new`, file);
  };
  set(0);
  return {
    set,
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      // No operating system moves that one.
      DONT_FAKE_MONOTONIC: '1',
    },
  };
}
