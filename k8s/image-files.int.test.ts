import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { CHECKOUT } from '../local/run-paths.ts';
import { testFolder } from '../local/testing.ts';

/** What the Dockerfile has copied when it runs the program; the copies have the time of now. */
const COPIED = [
  'packages',
  'services',
  'platform',
  'provider',
  'components/brokers',
  'local/bundle-program.ts',
  'k8s/image-files.ts',
  'topology.yaml',
];

/** Every file and folder below, with its time, mode and content. */
function facts(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return names.map((name) => {
    const path = join(folder, name);
    const { mode, mtime } = statSync(path);
    const content = statSync(path).isFile()
      ? createHash('sha256').update(readFileSync(path)).digest('hex')
      : '';
    return `${name} ${mode.toString(8)} ${mtime.toISOString()} ${content}`;
  });
}

/** A folder with what is copied, in which the program then runs. Its path is in the bundles. */
function copied(root: string): void {
  mkdirSync(root);
  for (const path of COPIED) cpSync(join(CHECKOUT, path), join(root, path), { recursive: true });
  symlinkSync(join(CHECKOUT, 'node_modules'), join(root, 'node_modules'));
}

const run = (cwd: string) =>
  execa(process.execPath, ['k8s/image-files.ts', '--out=images'], { cwd, reject: false });

test('the same sources give the same files, with the same times, whenever they are laid out', async () => {
  const root = join(testFolder(), 'app');
  const layOut = async () => {
    copied(root);
    expect(await run(root)).toMatchObject({ exitCode: 0 });
    const laidOut = facts(join(root, 'images'));
    rmSync(root, { recursive: true });
    return laidOut;
  };
  const [first, second] = [await layOut(), await layOut()];
  expect(second).toEqual(first);
  expect(first.length).toBeGreaterThan(20);
  expect(first).toContainEqual(expect.stringMatching(/^provider\/app\/main\.mjs /));
  expect(first.filter((fact) => !fact.includes(' 1980-01-01T00:00:00.000Z '))).toEqual([]);
});

test('another broker in the table without npm run generate is told, with the cure and before anything is bundled', async () => {
  const root = join(testFolder(), 'app');
  copied(root);
  const table = join(root, 'topology.yaml');
  writeFileSync(table, readFileSync(table, 'utf8').replace(/^broker: \S+/m, 'broker: redis'));
  expect(await run(root)).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr:
      'topology.yaml names the broker redis, and there is no components/brokers/redis-streams.generated.yaml\nCure: npm run generate',
  });
  expect(existsSync(join(root, 'bundles'))).toBe(false);
});
