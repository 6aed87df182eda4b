import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';

// Run by the Dockerfile, where little more than the sources is there: it imports nothing of the project.
const { values } = parseArgs({ options: { out: { type: 'string' } } });
if (!values.out) throw new Error('usage: image-files.ts --out FOLDER');

/**
 * Lays out what each image holds besides Node, as `<out>/<image>/app/...`: the bundle of a service, its migrations with
 * the program that runs them, and the files of packages that its package.json names because it reads them from the disk.
 */
function layOut(out: string): void {
  const services = readdirSync('services').filter((name) => existsSync(`services/${name}/src/main.ts`));
  const { broker, external = {} } = parse(readFileSync('topology.yaml', 'utf8')) as {
    broker: string;
    external?: Record<string, { simulator?: object }>;
  };
  const streams = `components/brokers/${broker}-streams.generated.yaml`;
  if (!existsSync(streams)) {
    console.error(
      `topology.yaml names the broker ${broker}, and there is no ${streams}\nCure: npm run generate`,
    );
    process.exit(1);
  }
  const simulators = Object.keys(external).filter((name) => external[name]?.simulator);
  const bundles = bundle([
    ...services.map((name) => `${name}=services/${name}/src/main.ts`),
    'platform=platform/main.ts',
    ...simulators.map((name) => `${name}=${name}/main.ts`),
    'migrate=packages/kit/src/migrate.ts',
  ]);
  for (const name of services) {
    const app = join(out, name, 'app');
    take(bundles, name, app, 'main');
    const migrations = `services/${name}/migrations`;
    if (existsSync(migrations)) {
      take(bundles, 'migrate', app, 'migrate');
      cpSync(migrations, join(app, 'migrations'), { recursive: true });
    }
    for (const file of filesOfPackages(`services/${name}/package.json`))
      copy(join('node_modules', file), join(app, 'node_modules', file));
  }
  for (const name of simulators) take(bundles, name, join(out, name, 'app'), 'main');
  const platform = join(out, 'platform', 'app');
  take(bundles, 'platform', platform, 'main');
  copy(streams, join(platform, 'streams.yaml'));
  settle(out);
}

function bundle(entries: string[]): string {
  // Inside the project, where a stack trace finds the names of the sources; always the same, as it is in the bundles.
  const folder = resolve('bundles');
  const program = ['local/bundle-program.ts', `--out=${folder}`, ...entries];
  const { status } = spawnSync(process.execPath, program, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  return folder;
}

/** Copies a bundle with its source map under another name. */
function take(bundles: string, name: string, app: string, as: string): void {
  mkdirSync(app, { recursive: true });
  const text = readFileSync(join(bundles, `${name}.mjs`), 'utf8');
  writeFileSync(join(app, `${as}.mjs`), text.replace(/(?<=\n\/\/# sourceMappingURL=).*/, `${as}.mjs.map`));
  copy(join(bundles, `${name}.mjs.map`), join(app, `${as}.mjs.map`));
}

function filesOfPackages(manifest: string): string[] {
  const { imageFiles = [] } = JSON.parse(readFileSync(manifest, 'utf8')) as { imageFiles?: string[] };
  return imageFiles;
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to);
}

/** One time and one mode for everything: what has the same content is the same layer, whenever it was built. */
function settle(folder: string): void {
  const time = new Date('1980-01-01T00:00:00Z');
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) settle(path);
    else chmodSync(path, 0o644);
    utimesSync(path, time, time);
  }
  chmodSync(folder, 0o755);
  utimesSync(folder, time, time);
}

layOut(values.out);
