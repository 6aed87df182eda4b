import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';

const here = resolve(import.meta.dirname, '..');
let checkout: string;

/** A checkout with the real bootstrap, one script, and a stand-in for npm that links the real packages. */
beforeEach(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'sidecart-bootstrap-'));
  onTestFinished(() => rm(checkout, { recursive: true, force: true }));
  for (const name of ['bootstrap.mjs', 'plain/lock.mjs', 'plain/packages.mjs'])
    await cp(join(here, 'local', name), join(checkout, 'local', name));
  await writeFile(join(checkout, 'package.json'), '{ "type": "module" }');
  await writeLock({ 'node_modules/tsx': { version: '1.0.0', integrity: 'sha512-a' } });
  await writeScript(`
    const words: string[] = process.argv.slice(2);
    console.log(JSON.stringify({ words, node: process.versions.node, script: process.argv[1], cwd: process.cwd() }));
    process.exitCode = 7;
  `);
  await writeNpm(`
    echo 'added 2 packages'; rm -rf node_modules; mkdir node_modules
    for name in tsx node; do ln -s "${here}/node_modules/$name" node_modules/$name; done
    sleep 0.3
    cp package-lock.json node_modules/.package-lock.json`);
});

const writeLock = (packages: object) =>
  writeFile(join(checkout, 'package-lock.json'), JSON.stringify({ packages }));
const writeScript = (code: string) => writeFile(join(checkout, 'script.ts'), code);

async function writeNpm(body: string): Promise<void> {
  await mkdir(join(checkout, 'bin'), { recursive: true });
  const log = join(checkout, 'npm.log');
  await writeFile(join(checkout, 'bin', 'npm'), `#!/bin/sh\necho "$*" >> '${log}'\n${body}\n`, {
    mode: 0o755,
  });
}

/** How npm was called so far. */
async function npmCalls(): Promise<string[]> {
  const log = await readFile(join(checkout, 'npm.log'), 'utf8').catch(() => '');
  return log.split('\n').filter((line) => line !== '');
}

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

/** `nodeVersion` makes this Node believe that it is another one. */
function bootstrap(words: string[], o: { nodeVersion?: string; path?: string; spawn?: SpawnOptions } = {}) {
  const disguise = `Object.defineProperty(process.versions, 'node', { value: '${o.nodeVersion}' })`;
  const child = spawn(
    process.execPath,
    [
      ...(o.nodeVersion === undefined ? [] : ['--import', `data:text/javascript,${disguise}`]),
      join(checkout, 'local', 'bootstrap.mjs'),
      ...words,
    ],
    { cwd: checkout, env: { PATH: o.path ?? `${checkout}/bin:/usr/bin:/bin` }, ...o.spawn },
  ) as ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream };
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = new Promise<[number | null, NodeJS.Signals | null]>((done) =>
    child.once('exit', (code, signal) => done([code, signal])),
  );
  const ended = async (): Promise<Ended> => {
    const [out, err, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
    return { code, signal, out, err };
  };
  return Object.assign(child, { ended: ended() });
}

describe('the npm packages', () => {
  test('are installed when there are none, once, with the reason said; then the script runs', async () => {
    const first = await bootstrap(['script.ts', 'a', '--b']).ended;
    expect(first.err).toContain('Installing the npm packages, as node_modules is missing: npm ci');
    expect(await npmCalls()).toEqual(['ci --no-audit --no-fund --loglevel=error']);
    expect(first.err).toContain('added 2 packages'); // and not among the script's own output
    expect(JSON.parse(first.out)).toMatchObject({ words: ['a', '--b'], script: join(checkout, 'script.ts') });
    expect(first.code).toBe(7);

    const second = await bootstrap(['script.ts']).ended;
    expect(second).toMatchObject({ code: 7, err: '' });
    expect(await npmCalls()).toHaveLength(1);
  });

  test.each<[string, object, string]>([
    [
      'another version',
      { version: '1.0.1', integrity: 'sha512-a' },
      'package-lock.json has changed (node_modules/tsx)',
    ],
    [
      'another content',
      { version: '1.0.0', integrity: 'sha512-b' },
      'package-lock.json has changed (node_modules/tsx)',
    ],
  ])('are installed again when package-lock.json wants %s', async (_, entry, reason) => {
    await bootstrap(['script.ts']).ended;
    await writeLock({ 'node_modules/tsx': entry });
    expect((await bootstrap(['script.ts']).ended).err).toContain(reason);
    expect(await npmCalls()).toHaveLength(2);
  });

  test('are installed again when one was added or removed, or the last time was cut off', async () => {
    await bootstrap(['script.ts']).ended;
    const tsx = { version: '1.0.0', integrity: 'sha512-a' };
    await writeLock({ 'node_modules/tsx': tsx, 'node_modules/more': { version: '1.0.0' } });
    expect((await bootstrap(['script.ts']).ended).err).toContain('(node_modules/more)');
    await writeLock({ 'node_modules/tsx': tsx });
    expect((await bootstrap(['script.ts']).ended).err).toContain('(node_modules/more)');
    await rm(join(checkout, 'node_modules', '.package-lock.json'));
    expect((await bootstrap(['script.ts']).ended).err).toContain('the last installation did not finish');
    expect(await npmCalls()).toHaveLength(4);
  });

  test('are left alone when package-lock.json was only touched, or wants more for other platforms only', async () => {
    await bootstrap(['script.ts']).ended;
    await writeLock({
      'node_modules/tsx': { integrity: 'sha512-a', version: '1.0.0' },
      'node_modules/other-platform': { version: '1.0.0', optional: true },
    });
    expect((await bootstrap(['script.ts']).ended).err).toBe('');
    expect(await npmCalls()).toHaveLength(1);
  });

  test('are installed once by two commands at the same time', async () => {
    const ended = await Promise.all([
      bootstrap(['script.ts', '1']).ended,
      bootstrap(['script.ts', '2']).ended,
    ]);
    expect(ended.map(({ code }) => code)).toEqual([7, 7]);
    expect(await npmCalls()).toHaveLength(1);
    expect(ended.map(({ err }) => err).join()).toContain('waiting for it');
  });

  test('that cannot be installed: no script, exit code 1 and the cure', async () => {
    await writeNpm('exit 42');
    const { code, out, err } = await bootstrap(['script.ts']).ended;
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain('npm ci failed with exit code 42');
    expect(err).toContain('Cure: mostly the network or the registry');
  });

  test('without npm: the cure', async () => {
    const { code, err } = await bootstrap(['script.ts'], { path: '/nonexistent' }).ended;
    expect(code).toBe(1);
    expect(err).toContain('Cure: install npm');
  });

  test('are installed by the npm and the Node outside the checkout, which npm ci does not delete under itself', async () => {
    const inside = join(checkout, 'node_modules', '.bin');
    await mkdir(inside, { recursive: true });
    await writeFile(join(inside, 'npm'), '#!/bin/sh\nexit 99\n', { mode: 0o755 });
    const { code } = await bootstrap(['script.ts'], { path: `${inside}:${checkout}/bin:/usr/bin:/bin` })
      .ended;
    expect(code).toBe(7);
  });
});

describe('Node', () => {
  test('below 20 is refused, with the cure', async () => {
    const { code, err } = await bootstrap(['script.ts'], { nodeVersion: '18.20.8' }).ended;
    expect(code).toBe(1);
    expect(err).toContain('Node 18.20.8 is too old');
    expect(err).toContain('Cure: install Node 24');
    expect(await npmCalls()).toEqual([]);
  });

  test.each(['20.0.0', '22.20.0', '26.1.0'])(
    '%s: the script runs on 24, with the same arguments and exit code',
    async (nodeVersion) => {
      const { code, out } = await bootstrap(['script.ts', 'a b', ''], { nodeVersion }).ended;
      expect(code).toBe(7);
      const said = JSON.parse(out);
      expect(said).toMatchObject({ words: ['a b', ''], script: join(checkout, 'script.ts'), cwd: checkout });
      expect(said.node).toMatch(/^24\./);
    },
  );

  test('24 that its package did not bring: the cure', async () => {
    await writeNpm('mkdir node_modules; cp package-lock.json node_modules/.package-lock.json');
    const { code, err } = await bootstrap(['script.ts'], { nodeVersion: '22.0.0' }).ended;
    expect(code).toBe(1);
    expect(err).toContain('Cure: `npm rebuild node --ignore-scripts=false`');
  });
});

describe.each([
  ['in this process', undefined],
  ['in another process', '22.0.0'],
])('signals, with the script %s', (_, nodeVersion) => {
  const o = nodeVersion === undefined ? {} : { nodeVersion };

  async function started(code: string) {
    await bootstrap(['script.ts']).ended;
    await writeScript(`${code}; console.log('up'); setInterval(() => {}, 1000);`);
    const child = bootstrap(['script.ts'], { ...o, spawn: { detached: true } });
    await new Promise((up) => child.stdout.once('data', up));
    return child;
  }

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s to it alone reaches the script, whose end it waits for',
    async (signal) => {
      const child = await started(
        `process.on('${signal}', () => setTimeout(() => { console.log('done'); process.exit(5) }, 300))`,
      );
      child.kill(signal);
      expect(await child.ended).toMatchObject({ code: 5, out: expect.stringContaining('done') });
    },
  );

  test('Ctrl-C, which reaches both, does not end it before the script', async () => {
    const child = await started(
      `process.on('SIGINT', () => setTimeout(() => { console.log('done'); process.exit(5) }, 300))`,
    );
    process.kill(-(child.pid as number), 'SIGINT');
    expect(await child.ended).toMatchObject({ code: 5, out: expect.stringContaining('done') });
  });

  test('a script that a signal ended: it ends by the same', async () => {
    const child = await started('');
    child.kill('SIGTERM');
    expect(await child.ended).toMatchObject({ code: null, signal: 'SIGTERM' });
  });
});

test('a signal while npm ci runs ends both, and the next command starts over at once', async () => {
  await writeNpm('exec sleep 30');
  const child = bootstrap(['script.ts']);
  await vi.waitFor(async () => expect(await npmCalls()).toHaveLength(1), 5000);
  const startedAt = Date.now();
  child.kill('SIGTERM');
  expect(await child.ended).toMatchObject({ signal: 'SIGTERM' });
  await writeNpm('exit 3');
  expect((await bootstrap(['script.ts']).ended).err).toContain('npm ci failed with exit code 3');
  expect(Date.now() - startedAt).toBeLessThan(5000);
});
