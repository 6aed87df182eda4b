import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { parse } from 'yaml';
import { PINS } from '../local/programs/pins.ts';

export const DAPR_VALUES = 'k8s/dapr/values.yaml';

/** The version of Dapr's chart and images that the values say. */
export function daprVersion(): string {
  return (parse(readFileSync(DAPR_VALUES, 'utf8')) as { global: { tag: string } }).global.tag;
}

/**
 * For tests: the folder of Dapr's chart, or why there is none here. It comes with the Go module, of the version that the
 * values say: the same files as the released one.
 */
export async function findDaprChart(): Promise<{ folder: string } | { whyNot: string }> {
  const tag = daprVersion();
  const [helm, download] = await Promise.all([
    execa('helm', ['version', '--short'], { reject: false }),
    // Outside of any module, whose go.mod could make `go` fetch another version of itself.
    execa('go', ['mod', 'download', '-json', `${PINS.daprd.module}@v${tag}`], { cwd: '/', reject: false }),
  ]);
  if (helm.code === 'ENOENT') return { whyNot: 'helm is not on the PATH, which renders the chart of Dapr' };
  if (download.code === 'ENOENT')
    return { whyNot: 'Go is not installed, with whose module the chart of Dapr comes' };
  if (download.failed) return { whyNot: `the Go module of Dapr ${tag} cannot be had: ${download.stderr}` };
  return { folder: join((JSON.parse(download.stdout) as { Dir: string }).Dir, 'charts/dapr') };
}
