import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { z } from 'zod';
import { CHECKOUT } from '../../local/run-paths.ts';
import { skip } from '../cluster/skip.ts';

const EVALUATOR = join(CHECKOUT, 'tests/tilt/evaluator');

const Outcome = z.object({
  calls: z.array(z.object({ function: z.string(), args: z.record(z.string(), z.unknown()), at: z.string() })),
  printed: z.array(z.string()),
  error: z.string().optional(),
});

/** What a Tiltfile did: each call of a function of Tilt with its arguments, paths absolute; and how it failed, if it did. */
export type Outcome = z.infer<typeof Outcome>;

export interface EvaluateOptions {
  /** Folder of the Tiltfile; the checkout when not given. */
  folder?: string;
  /** What follows `tilt up --`. */
  args?: string[];
  /** Name of the kube context. */
  context?: string;
  command?: 'up' | 'ci' | 'down';
}

/**
 * The function that evaluates a Tiltfile, for the tests of the file that calls this. Skips them, with the reason, where Go
 * is not installed, which builds the evaluator; the first time it downloads the modules.
 */
export function useEvaluator(): (options?: EvaluateOptions) => Promise<Outcome> {
  let folder: string | undefined;
  beforeAll(async () => {
    const { code } = await execa('go', ['version'], { reject: false });
    if (code === 'ENOENT') return;
    folder = mkdtempSync(join(tmpdir(), 'sidecart-tilt-evaluator-'));
    await execa('go', ['build', '-C', EVALUATOR, '-o', join(folder, 'evaluator'), '.'], {
      env: { CGO_ENABLED: '0' },
    });
  }, 300_000);
  beforeEach((context) => {
    if (!folder) skip(context, 'Go is not installed, which builds the evaluator of the Tiltfile');
  });
  afterAll(() => {
    if (folder) rmSync(folder, { recursive: true, force: true });
  });
  return async (options = {}) => {
    const { folder: checkout = CHECKOUT, args = [], context = 'kind-kind', command = 'up' } = options;
    const { stdout } = await execa(
      join(folder ?? '', 'evaluator'),
      [`--context=${context}`, `--command=${command}`, join(checkout, 'Tiltfile'), ...args],
      // What the developer has set for the own shop is not the test's.
      { env: { SIDECART_PORT_GATEWAY: undefined, SIDECART_RUN_DIR: undefined } },
    );
    return Outcome.parse(JSON.parse(stdout));
  };
}
