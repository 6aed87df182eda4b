import { spawnSync } from 'node:child_process';
import { execa } from 'execa';
import { onTestFinished, vi } from 'vitest';

/** The images that the Dockerfile begins with. */
export const BASES = [
  process.env.NODE_IMAGE || 'node:24-bookworm-slim',
  process.env.RUNTIME_IMAGE || 'debian:bookworm-slim',
];

/** Why there can be no test of images here; undefined where there can. Gets the base images. */
export function whyNoImages(): string | undefined {
  // Containers on the network of the machine reach what the tests start, and the other way round.
  if (process.platform !== 'linux') return 'only on Linux do containers share the network of the machine';
  const run = (...args: string[]) => spawnSync('docker', args, { stdio: 'ignore' });
  const { error, status } = run('version');
  if (error) return 'there is no docker on the PATH';
  if (status !== 0) return 'the docker on the PATH reaches no engine';
  const missing = BASES.find(
    (base) => run('image', 'inspect', base).status !== 0 && run('pull', base).status !== 0,
  );
  return missing && `the base image ${missing} is not here and cannot be pulled`;
}

/** What docker says, as text. */
export async function docker(...args: string[]): Promise<string> {
  return (await execa('docker', args)).stdout;
}

/** Runs a command in a container made of an image, without its own entry point; what it prints. */
export function inImage(image: string, ...command: string[]): Promise<string> {
  return docker('run', '--rm', '--network=none', '--entrypoint=', image, ...command);
}

export interface Container {
  id: string;
  /** Lines of JSON that it has logged by now. */
  log(): Promise<Record<string, unknown>[]>;
  /** Waits until it has logged such a line. */
  logged(line: object): Promise<void>;
  /** Sends the signal, waits for the end. */
  stop(signal?: string): Promise<{ exitCode: number; ms: number }>;
  /** Waits for the end. */
  ended(): Promise<number>;
}

/** Starts a container as a pod under the restricted Pod Security Standard is; gone when the test ends. */
export async function startContainer(o: {
  image: string;
  env?: Record<string, string>;
  options?: string[];
  args?: string[];
  /** An image under edit may write; every other may not. */
  writable?: boolean;
}): Promise<Container> {
  const id = await docker(
    'run',
    '--detach',
    '--network=host',
    '--cap-drop=ALL',
    '--security-opt=no-new-privileges',
    ...(o.writable ? [] : ['--read-only']),
    ...Object.entries(o.env ?? {}).map(([name, value]) => `--env=${name}=${value}`),
    ...(o.options ?? []),
    o.image,
    ...(o.args ?? []),
  );
  onTestFinished(async () => void (await docker('rm', '--force', id)));
  const log = async () =>
    (await execa('docker', ['logs', id], { all: true })).all
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ended = async () => Number(await docker('wait', id));
  return {
    id,
    log,
    ended,
    logged: (line) =>
      vi.waitFor(
        async () => {
          const lines = await log();
          if (!lines.some((entry) => matches(entry, line)))
            throw new Error(`no ${JSON.stringify(line)} in\n${JSON.stringify(lines)}`);
        },
        { timeout: 30_000, interval: 100 },
      ),
    async stop(signal = 'SIGTERM') {
      const since = performance.now();
      await docker('kill', `--signal=${signal}`, id);
      return { exitCode: await ended(), ms: performance.now() - since };
    },
  };
}

function matches(entry: Record<string, unknown>, line: object): boolean {
  return Object.entries(line).every(([key, value]) => entry[key] === value);
}
