import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { openCache } from '../../local/programs/cache.ts';

const VERSION = '1.20.0';

/** A check that kube-score calls critical and that an object does not pass. */
export interface Finding {
  /** `Deployment/orders` */
  object: string;
  /** kube-score's own name of the check. */
  check: string;
  comments: string[];
}

/** kube-score's grade for it; the next better one is a warning. */
const CRITICAL = 1;

const Report = z.array(
  z.object({
    type_meta: z.object({ kind: z.string() }),
    object_meta: z.object({ name: z.string() }),
    checks: z.array(
      z.object({
        check: z.object({ id: z.string() }),
        grade: z.number(),
        skipped: z.boolean(),
        comments: z.array(z.object({ summary: z.string() })).nullable(),
      }),
    ),
  }),
);

/**
 * The program kube-score in the user's cache, built from its Go module when it is not there yet. Undefined without Go.
 * @throws when Go is there and the build fails.
 */
export async function kubeScore(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folder = join(openCache(env).folder, 'tools', `kube-score-${VERSION}`);
  const program = join(folder, 'kube-score');
  if (existsSync(program)) return program;
  const go = await execa('go', ['install', `github.com/zegl/kube-score/cmd/kube-score@v${VERSION}`], {
    env: { GOBIN: folder, CGO_ENABLED: '0', GOWORK: 'off', GOFLAGS: '' },
    cwd: '/',
    reject: false,
  });
  if (go.code === 'ENOENT') return undefined;
  if (go.failed) throw new Error(`kube-score could not be built: ${go.stderr}`);
  return program;
}

/** What kube-score finds critical in manifests, as YAML. */
export async function criticalFindings(program: string, manifests: string): Promise<Finding[]> {
  const args = ['score', '--output-format', 'json', '--kubernetes-version', 'v1.36', '-'];
  const { stdout } = await execa(program, args, { input: manifests, reject: false }); // it exits with 1 when it finds something
  return Report.parse(JSON.parse(stdout)).flatMap(({ type_meta, object_meta, checks }) =>
    checks
      .filter(({ grade, skipped }) => grade <= CRITICAL && !skipped)
      .map(({ check, comments }) => ({
        object: `${type_meta.kind}/${object_meta.name}`,
        check: check.id,
        comments: (comments ?? []).map(({ summary }) => summary),
      })),
  );
}
