import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CHECKOUT } from '../../local/run-paths.ts';
import { skip } from '../cluster/skip.ts';

/** The environment that tilt/dev gives to what runs from sources. */
function developmentEnvironment(): Record<string, string> {
  const { patches } = parse(readFileSync(join(CHECKOUT, 'tilt/dev/kustomization.yaml'), 'utf8'));
  const [app] = parse(patches[0].patch).spec.template.spec.containers;
  return Object.fromEntries(app.env.map(({ name, value }: { name: string; value: string }) => [name, value]));
}

let end = () => {};
afterEach(() => end());

test('node --watch sees every edit that tar unpacks, not only the first', async (context) => {
  const { stdout } = await execa('tar', ['--version'], { reject: false });
  if (!stdout?.includes('GNU tar'))
    skip(context, 'the tar of this machine is not that of the images, GNU tar');

  const folder = mkdtempSync(join(tmpdir(), 'sidecart-watched-'));
  const [sources, app] = [join(folder, 'sources'), join(folder, 'app')];
  mkdirSync(sources);
  mkdirSync(app);
  const { NODE_COMPILE_CACHE: _, ...given } = developmentEnvironment();
  const env = { ...process.env, ...given };
  const edit = async (text: string) => {
    writeFileSync(join(sources, 'said.mjs'), `export const said = '${text}';`);
    const archive = await execa('tar', ['-c', '-C', sources, '.'], { encoding: 'buffer' });
    // As Tilt does in the container.
    await execa('tar', ['-C', app, '-x', '-f', '-'], { input: archive.stdout, env });
  };
  writeFileSync(
    join(sources, 'main.mjs'),
    "import { said } from './said.mjs'; console.log(said); process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6);",
  );
  await edit('first');

  const child = spawn(process.execPath, ['--watch', join(app, 'main.mjs')], { env, detached: true });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  end = () => {
    // With what it started.
    process.kill(-(child.pid as number), 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  for (const text of ['first', 'second', 'third', 'fourth']) {
    if (text !== 'first') await edit(text);
    await expect.poll(() => output, { timeout: 10_000 }).toContain(text);
  }
  expect(output.match(/Restarting/g)).toHaveLength(3);
}, 60_000);
