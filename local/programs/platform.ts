import { ProgramError } from './errors.ts';

/** Operating system and processor as Go and the release pages name them. */
export interface Platform {
  readonly os: 'linux' | 'darwin';
  readonly arch: 'amd64' | 'arm64';
}

const ARCHITECTURES: Partial<Record<string, Platform['arch']>> = { x64: 'amd64', arm64: 'arm64' };

/** @throws ProgramError on a system that the programs do not run on. */
export function currentPlatform(os: string = process.platform, cpu: string = process.arch): Platform {
  const arch = ARCHITECTURES[cpu];
  if ((os !== 'linux' && os !== 'darwin') || arch === undefined) {
    throw new ProgramError(
      `Sidecart runs on Linux and macOS, on x64 and arm64; this is ${os} on ${cpu}.`,
      os === 'win32' ? 'Use WSL 2: run everything inside its Linux.' : 'Use one of those systems.',
    );
  }
  return { os, arch };
}
