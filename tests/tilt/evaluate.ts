import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { z } from 'zod';
import { CHECKOUT } from '../../local/run-paths.ts';
import { skip } from '../cluster/skip.ts';

const EVALUATOR = join(CHECKOUT, 'tests/tilt/evaluator');

/** All that the Tiltfile asks the environment for. */
const UNSET = {
  SIDECART_PORT_GATEWAY: undefined,
  SIDECART_RUN_DIR: undefined,
  NODE_IMAGE: undefined,
  RUNTIME_IMAGE: undefined,
  NPM_CONFIG_REGISTRY: undefined,
};

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
  env?: Record<string, string>;
}

/**
 * The function that evaluates a Tiltfile, for the tests of the file that calls this. Skips them, with the reason, where the
 * evaluator cannot be built: that needs Go and, the first time, its modules from the network.
 */
export function useEvaluator(): (options?: EvaluateOptions) => Promise<Outcome> {
  let folder: string | undefined;
  let whyNot: string | undefined;
  beforeAll(async () => {
    const modules = await execa('go', ['mod', 'download'], { cwd: EVALUATOR, reject: false });
    if (modules.code === 'ENOENT') whyNot = 'Go is not installed, which builds the evaluator of the Tiltfile';
    else if (modules.failed) whyNot = `the modules of the evaluator cannot be had: ${modules.stderr}`;
    if (whyNot) return;
    folder = mkdtempSync(join(tmpdir(), 'sidecart-tilt-evaluator-'));
    const build = ['build', '-o', join(folder, 'evaluator'), '.'];
    await execa('go', build, { cwd: EVALUATOR, env: { CGO_ENABLED: '0' } });
  }, 300_000);
  beforeEach((context) => {
    if (whyNot) skip(context, whyNot);
  });
  afterAll(() => {
    if (folder) rmSync(folder, { recursive: true, force: true });
  });
  return async (options = {}) => {
    const {
      folder: checkout = CHECKOUT,
      args = [],
      context = 'kind-kind',
      command = 'up',
      env = {},
    } = options;
    const { stdout } = await execa(
      join(folder ?? '', 'evaluator'),
      [`--context=${context}`, `--command=${command}`, join(checkout, 'Tiltfile'), ...args],
      // What the developer has set for the own shop is not the test's.
      { env: { ...UNSET, ...env } },
    );
    return Outcome.parse(JSON.parse(stdout));
  };
}
