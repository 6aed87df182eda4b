import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ExecaError, execa } from 'execa';
import { optionsOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { contractions } from './expand-only.ts';
import { loadTopology, type Topology } from './topology.ts';

const USAGE = `npm run db:generate [-- options]

Writes, for each service with a database, the migration that its schema.ts lacks, and the copies of
packages/messaging/src/*.sql that it lacks. Needs no database: drizzle-kit works out the difference from the snapshots
beside the migrations.

  --name add_returns   call the migration so
  --check              only say which service lacks one, and which migration the version before it may not survive
  --help               this text`;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const drizzleKit = join(root, 'node_modules', 'drizzle-kit', 'bin.cjs');

function drizzleGenerate(
  service: string,
  folder: string,
  stdio: 'inherit' | 'pipe',
  { name, custom }: { name?: string | undefined; custom?: boolean } = {},
) {
  const args = [
    '--dialect=postgresql',
    `--schema=./services/${service}/src/schema.ts`,
    // drizzle-kit puts ./ before it, so an absolute path would end up inside the project.
    `--out=${relative(root, folder)}`,
    ...(name ? [`--name=${name}`] : []),
    ...(custom ? ['--custom'] : []),
  ];
  // It may ask whether a column was renamed or replaced: a check has nobody to answer, and fails.
  const stdin = stdio === 'inherit' ? 'inherit' : 'ignore';
  return execa(process.execPath, [drizzleKit, 'generate', ...args], {
    cwd: root,
    stdin,
    stdout: stdio,
    stderr: stdio,
  });
}

/** Why the service's migrations are not what its schema says, or undefined when they are. Works on a copy. */
async function drift(service: string, folder: string): Promise<string | undefined> {
  const cache = join(root, '.cache');
  mkdirSync(cache, { recursive: true });
  const copy = mkdtempSync(join(cache, `migrations-${service}-`));
  try {
    if (existsSync(folder)) cpSync(folder, copy, { recursive: true });
    const { stdout } = await drizzleGenerate(service, copy, 'pipe');
    // Its exit code is 0 also when it had to ask and nobody was there.
    return stdout?.includes('No schema changes')
      ? undefined
      : 'schema.ts says something else than the migrations';
  } catch (error) {
    const { stdout, stderr } = error as ExecaError;
    return `drizzle-kit cannot tell: ${[stdout, stderr].filter(Boolean).join('\n') || error}`;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Each statement of the service's migrations that an old version may not survive, with its file. */
function contracting(folder: string): string[] {
  return sqlFiles(folder).flatMap((file) =>
    contractions(readFileSync(join(folder, file), 'utf8')).map((fault) => `${file}: ${fault}`),
  );
}

const messaging = join(root, 'packages', 'messaging', 'src');
const sqlFiles = (folder: string) =>
  existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.sql')) : [];

/** What drizzle-kit cannot write is written by hand once, in the messaging package, and copied: which of it this service lacks. */
function missingCopies(folder: string): string[] {
  const texts = sqlFiles(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
  return sqlFiles(messaging).filter((file) => !texts.includes(readFileSync(join(messaging, file), 'utf8')));
}

/** An empty migration of drizzle-kit's, so that it is in the journal, with the text of the file. */
async function writeCopy(service: string, folder: string, file: string): Promise<void> {
  const before = sqlFiles(folder);
  await drizzleGenerate(service, folder, 'inherit', { name: basename(file, '.sql'), custom: true });
  for (const made of sqlFiles(folder).filter((name) => !before.includes(name)))
    cpSync(join(messaging, file), join(folder, made));
}

const options = optionsOrExit(USAGE, { check: { type: 'boolean' }, name: { type: 'string' } });
/** Ends the program when the table has a fault. */
function tableOrExit(): Topology {
  try {
    return loadTopology(join(root, 'topology.yaml'));
  } catch (error) {
    complain(error);
    process.exit();
  }
}

const services = tableOrExit()
  .services.filter(({ database }) => database)
  .map(({ name }) => ({ name, folder: join(root, 'services', name, 'migrations') }));

if (options.check) {
  const results = await Promise.all(
    services.map(async ({ name, folder }) => ({ name, fault: await drift(name, folder) })),
  );
  for (const { name, fault } of results) {
    if (!fault) continue;
    console.error(`services/${name}: ${fault}. Run npm run db:generate, read what it wrote, and commit it.`);
    process.exitCode = 1;
  }
  for (const { name, folder } of services)
    for (const fault of contracting(folder)) {
      console.error(
        `services/${name}/migrations/${fault}. Add first, and remove one release later. For what nothing uses any more ` +
          'write `-- contract: why` before the statement, for an index of a small table `-- locks: why writers can wait` ' +
          '(docs/kubernetes.md, Upgrade).',
      );
      process.exitCode = 1;
    }
  for (const { name, folder } of services)
    for (const file of missingCopies(folder)) {
      console.error(
        `services/${name}: no migration is a copy of packages/messaging/src/${file}. Run npm run db:generate, and commit what it wrote.`,
      );
      process.exitCode = 1;
    }
  if (process.exitCode !== 1)
    console.log('Every schema has its migrations, and none takes away what an old version uses.');
} else {
  for (const { name, folder } of services) {
    console.log(`\n${name}`);
    await drizzleGenerate(name, folder, 'inherit', { name: options.name });
    // After it: they are about tables that it makes.
    for (const file of missingCopies(folder)) await writeCopy(name, folder, file);
  }
}
