import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { DAPR_COMPONENTS } from './pins.ts';
import { ensurePrograms } from './programs.ts';
import { emptyMachine, writeScript } from './test-support.ts';

/**
 * A machine with a stand-in for Go, which writes down how it was called and "builds" a script. What the real Go makes
 * of the real modules shows at each start with an empty cache.
 */
async function machineWithGo(
  o: { version?: string; toolchain?: string; builds?: string; exit?: number; takesS?: number } = {},
) {
  const { folder, env } = await emptyMachine();
  const module = join(folder, 'module');
  const components = join('cmd', 'daprd', 'components');
  const files = [
    'go.mod',
    'pkg/runtime/runtime.go',
    'tests/huge.go',
    ...[...DAPR_COMPONENTS, 'bindings_aws_s3', 'pubsub_kafka'].map((name) => join(components, `${name}.go`)),
  ];
  for (const file of files) {
    await mkdir(dirname(join(module, file)), { recursive: true });
    await writeFile(join(module, file), `package x // ${file}\n`);
  }
  const log = join(folder, 'log');
  await writeScript(
    join(folder, 'bin', 'go'),
    `case "$1" in
env) printf '%s\\n' '${o.version ?? 'go1.26.8'}' '${o.toolchain ?? 'local'}' ;;
mod) echo '{"Dir": "${module}"}' ;;
build)
  { echo "args: $*"; echo "toolchain: $GOTOOLCHAIN cgo: $CGO_ENABLED workspace: $GOWORK"; echo "folder: $(pwd)"
    for file in cmd/daprd/components/*; do echo "component: $file"; done; for file in *; do echo "entry: $file"; done; } > '${log}'
  echo 'go: downloading example.com/a v1.0.0' >&2; echo 'example.com/a' >&2; echo 'x.go:1: something is wrong' >&2
  while [ "$1" != -o ]; do shift; done
  printf '#!/bin/sh\\necho ${o.builds ?? '1.18.2'}\\n' > "$2"; /bin/chmod 755 "$2"
  /bin/sleep ${o.takesS ?? 0}; exit ${o.exit ?? 0} ;;
esac`,
  );
  const seen = async (key: string) =>
    (await readFile(log, 'utf8'))
      .split('\n')
      .filter((line) => line.startsWith(`${key}: `))
      .map((line) => line.slice(key.length + 2));
  return { folder, env, module, seen };
}

async function build(env: NodeJS.ProcessEnv, full = false) {
  const { daprd } = await ensurePrograms({ env, only: ['daprd'], full, progress: () => {} });
  return daprd;
}

describe('a build from source', () => {
  test('says how many packages it compiles at most, where that is known', async () => {
    const { env } = await machineWithGo({ takesS: 1.5 });
    const told = async (full: boolean) => {
      const lines: string[] = [];
      const progress = (line: string) => void lines.push(line);
      await ensurePrograms({ env, only: ['daprd'], full, progress });
      return lines.find((line) => line.includes('packages compiled'));
    };
    expect(await told(false)).toMatch(/1 of up to 1600 packages compiled, 0:0\d/);
    expect(await told(true)).toMatch(/, 1 packages compiled, 0:0\d/);
  });

  test('leaves out of daprd the components that nobody uses, without touching the module', async () => {
    const { env, module, seen } = await machineWithGo();
    expect(await build(env)).toMatchObject({ source: 'build', version: '1.18.2' });
    expect(await seen('component')).toEqual(DAPR_COMPONENTS.map((name) => `cmd/daprd/components/${name}.go`));
    expect(await seen('entry')).toEqual(['cmd', 'go.mod', 'pkg']);
    expect(await readdir(join(module, 'cmd/daprd/components'))).toContain('pubsub_kafka.go');
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'tmp'))).toEqual([]);
    expect(await build(env)).toMatchObject({ source: 'cache' });
  });

  test('keeps all of them when asked to, in the module itself', async () => {
    const { env, module, seen } = await machineWithGo();
    await build(env, true);
    expect(await seen('folder')).toEqual([module]);
  });

  test('says the version, and takes the module as its authors released it', async () => {
    const { env, seen } = await machineWithGo();
    await build({ ...env, GOWORK: '/somewhere/go.work', GOTOOLCHAIN: 'auto', CGO_ENABLED: '1' });
    const [args] = await seen('args');
    expect(args).toContain('-X github.com/dapr/dapr/pkg/buildinfo.version=1.18.2');
    expect(args).toContain('-mod=readonly');
    expect(args).toContain('-tags allcomponents');
    expect(await seen('toolchain')).toEqual(['local cgo: 0 workspace: off']);
  });

  test('that fails shows the last words of Go', async () => {
    const { env } = await machineWithGo({ exit: 1 });
    await expect(build(env)).rejects.toThrow('x.go:1: something is wrong');
  });

  test('ends when it is given up, and leaves nothing', async () => {
    const { folder, env } = await machineWithGo();
    await writeScript(
      join(folder, 'bin', 'go'),
      `if [ "$1" = env ]; then echo go1.26.8; echo local; exit; fi; echo "$$" > '${folder}/pid'; exec /bin/sleep 60`,
    );
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const ensuring = ensurePrograms({ env, only: ['daprd'], signal, progress: () => {} }).catch((err) => err);
    await vi.waitFor(async () => expect(await readFile(join(folder, 'pid'), 'utf8')).toMatch(/\d/));
    giveUp.abort(new Error('given up'));
    expect(await ensuring).toEqual(new Error('given up'));
    const pid = Number(await readFile(join(folder, 'pid'), 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'tmp'))).toEqual([]);
  });

  test('of which something else comes out is not used', async () => {
    const { env } = await machineWithGo({ builds: 'edge' });
    await expect(build(env)).rejects.toThrow('the build calls itself edge, not 1.18.2');
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'programs')).catch(() => [])).toEqual([]);
  });

  test.each([
    ['too old and not to be replaced', { version: 'go1.26.4', toolchain: 'local' }, false],
    ['too old for fetching a newer one', { version: 'go1.20.14', toolchain: '' }, false],
    ['old, but it fetches a newer one', { version: 'go1.21.0', toolchain: 'auto' }, true],
    ['as new as needed', { version: 'go1.26.5', toolchain: 'local' }, true],
  ])('with a Go that is %s', async (_, go, works) => {
    const { env } = await machineWithGo(go);
    if (works) expect(await build(env)).toMatchObject({ source: 'build' });
    else await expect(build(env)).rejects.toThrow(/build: Go 1\.\d+\.\d+ is too old, 1\.26\.5 is needed/);
  });
});
