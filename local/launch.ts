import { execa } from 'execa';
import { withLog } from './logs.ts';

/** How to start a program. The environment is complete: nothing of the runner's own is passed on. */
export interface Command {
  file: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
  /** Run as this user; only root can say so. */
  user?: { uid: number; gid: number };
}

export interface Exit {
  code?: number | undefined;
  signal?: string | undefined;
  /** Set when the program could not be started at all. */
  problem?: string | undefined;
}

export interface Launched {
  /** `undefined` when the program could not be started at all. */
  pid: number | undefined;
  exited: Promise<Exit>;
}

/**
 * Starts a program in a process group of its own (Ctrl-C in the terminal reaches the runner only, which then stops
 * everything in order). It writes straight into its log, so it neither needs the runner to live nor costs it anything.
 */
export function launch(command: Command, logFile: string): Launched {
  return withLog(logFile, (fd) => {
    // Any open file descriptor is right here; the library's types only list the first few.
    const log = fd as 3;
    const child = execa(command.file, command.args, {
      cwd: command.cwd,
      env: command.env,
      extendEnv: false,
      ...(command.user ? { uid: command.user.uid, gid: command.user.gid } : {}),
      stdio: ['ignore', log, log],
      buffer: false,
      detached: true,
      cleanup: false,
      reject: false,
    });
    const exited = child.then(
      (result): Exit => ({
        code: result.exitCode,
        signal: result.signal,
        problem: child.pid === undefined ? (result.originalMessage ?? 'it cannot be started') : undefined,
      }),
    );
    return { pid: child.pid, exited };
  });
}

/** Says an exit in words: `died (code 1)`, `died (SIGKILL)`. */
export function describeExit(exit: Exit): string {
  if (exit.problem) return `cannot be started (${exit.problem})`;
  if (exit.signal) return `died (${exit.signal})`;
  return exit.code === 0 ? 'ended (code 0)' : `died (code ${exit.code})`;
}

/** What every child gets of the runner's surroundings: enough to find programs and temporary space, no more. */
export function baseEnv(env: Record<string, string | undefined> = process.env): Record<string, string> {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_ALL', 'TZ'];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
