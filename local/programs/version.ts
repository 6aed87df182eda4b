import { execa } from 'execa';
import { SourceError } from './errors.ts';
import type { InstalledName, ProgramName } from './pins.ts';

// Sentry has no --version. It names its version in the first line that it logs, and ends before it listens
// anywhere when its configuration cannot be read: below /dev/null nothing can ever be.
const QUESTIONS: Record<ProgramName | InstalledName, { args: string[]; answer: RegExp }> = {
  daprd: { args: ['--version'], answer: /^(\S+)\s*$/ },
  sentry: { args: ['--config', '/dev/null/none'], answer: /certificate authority -- version (\S+)/ },
  natsServer: { args: ['--version'], answer: /^nats-server: v(\S+)/ },
  redisServer: { args: ['--version'], answer: /^Redis server v=(\S+)/ },
};

/**
 * Asks an executable for its version by running it.
 * @returns what it calls itself, not always a semantic version (`edge` for a plain build of Dapr).
 * @throws SourceError when it does not run or does not answer as that program does.
 */
export async function askVersion(program: ProgramName | InstalledName, path: string): Promise<string> {
  const { args, answer } = QUESTIONS[program];
  // An own small environment: the user's DAPR_* settings must not make the program do anything else.
  const result = await execa(path, args, {
    all: true,
    reject: false,
    stdin: 'ignore',
    timeout: 10_000,
    killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH, HOME: '/nonexistent' },
    extendEnv: false,
    cwd: '/',
  });
  const version = answer.exec(result.all ?? '')?.[1];
  if (version !== undefined) return version;
  throw new SourceError(
    result.exitCode === undefined
      ? `${path} does not run: ${result.originalMessage ?? result.shortMessage}`
      : `${path} does not say its version`,
  );
}
