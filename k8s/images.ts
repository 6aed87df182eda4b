import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { loadTopology } from '../generator/topology.ts';
import { exitWithUsage, optionsOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { consoleReport } from '../local/console-report.ts';
import { logTail } from '../local/logs.ts';
import { type Report, step } from '../local/progress-events.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { ShopError } from '../local/shop-error.ts';
import { BUILDERS, type Builder, type ImageBuild, imageName } from './image-builders.ts';
import { describeSource } from './image-source.ts';

const USAGE = `npm run images [-- options] [SERVICE...]

Builds the image sidecart/<service> of each service, sidecart/platform, and those of simulators; or only those that are named.

  --tag TAG             default: the short commit, with -dirty when files differ from it
  --push REGISTRY       pushes them too, as REGISTRY/sidecart/<service>:TAG
  --builder PROGRAM     docker (default) or buildah
  --target TARGET       runtime (default), or dev: sources instead of a bundle, for live updates
  --network NETWORK     of the build's steps, as the builder takes it, e.g. host
  --help                this text

Environment: NODE_IMAGE and RUNTIME_IMAGE (other base images), NPM_CONFIG_REGISTRY (the registry npm asks in the build).`;

const TEXT = { type: 'string' } as const;
const OPTIONS = {
  tag: TEXT,
  push: TEXT,
  builder: { ...TEXT, default: 'docker' },
  target: { ...TEXT, default: 'runtime' },
  network: TEXT,
};
const FROM_ENVIRONMENT = ['NODE_IMAGE', 'RUNTIME_IMAGE', 'NPM_CONFIG_REGISTRY'];
const LOGS = join(CHECKOUT, '.run', 'logs');

const output = consoleReport(process.stdout);
try {
  await main(process.argv.slice(2));
} catch (error) {
  output.finish();
  complain(error);
}

async function main(args: string[]): Promise<void> {
  const o = readCommandLine(args);
  const { builder } = o;
  await requireBuilder(builder);
  const source = await describeSource(CHECKOUT, o.tag);
  const buildArgs = { ...source.labels, ...fromEnvironment() };
  const built: string[] = [];
  // One after the other: the first makes the layers that all share.
  for (const name of o.names) {
    const image: ImageBuild = {
      name,
      target: o.target,
      tag: source.tag,
      epoch: source.epoch,
      buildArgs,
      ...(o.network === undefined ? {} : { network: o.network }),
    };
    const { args, env } = builder.build(image);
    const local = imageName(image);
    await step(output.report, local, () => run(builder, args, { env, name, step: local }));
    built.push(local);
    if (o.push === undefined) continue;
    const remote = `${o.push}/${local}`;
    await step(output.report, remote, async () => {
      for (const command of builder.push(local, remote)) await run(builder, command, { name, step: remote });
    });
  }
  output.finish();
  const width = Math.max(...built.map((name) => name.length));
  for (const name of built) {
    const { stdout } = await execa(builder.program, builder.size(name));
    output.print(`${name.padEnd(width + 2)}${stdout.split('\n')[0]?.replace(/(?<=\d)(?=[A-Za-z])/, ' ')}`);
  }
}

function readCommandLine(args: string[]) {
  const { tokens } = parseArgs({ args, options: OPTIONS, strict: false, tokens: true });
  const positions = new Set(tokens.flatMap(({ kind, index }) => (kind === 'positional' ? [index] : [])));
  const named = args.filter((_, index) => positions.has(index));
  const { tag, push, builder, target, network } = optionsOrExit(
    USAGE,
    OPTIONS,
    args.filter((_, index) => !positions.has(index)),
  );
  if (builder !== 'docker' && builder !== 'buildah')
    exitWithUsage(`--builder ${builder}: write docker or buildah`, USAGE);
  if (target !== 'runtime' && target !== 'dev')
    exitWithUsage(`--target ${target}: write runtime or dev`, USAGE);
  if (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag))
    exitWithUsage(`--tag ${tag}: a tag has letters, digits, _ . and -, at most 128 of them`, USAGE);
  const { services, externals } = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const simulators = externals.filter(({ simulatorPort }) => simulatorPort !== undefined);
  const all = [...services, ...simulators].map(({ name }) => name).concat('platform');
  const unknown = named.find((name) => !all.includes(name));
  if (unknown !== undefined)
    exitWithUsage(`there is no service ${unknown}; there are ${all.join(', ')}`, USAGE);
  const names = all.filter((name) => named.length === 0 || named.includes(name));
  return { names, tag, push: push?.replace(/\/$/, ''), builder: BUILDERS[builder], target, network } as const;
}

function fromEnvironment(): Record<string, string> {
  return Object.fromEntries(
    FROM_ENVIRONMENT.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  );
}

async function requireBuilder({ program, probe, cures }: Builder): Promise<void> {
  const { failed, code, stderr } = await execa(program, probe, { reject: false });
  if (code === 'ENOENT') throw new ShopError(`there is no program ${program}`, cures.missing);
  if (failed) throw new ShopError(`${program} cannot be used: ${stderr.trim()}`, cures.unusable);
}

/** Runs the builder, with its last line as news and all of them in a log. */
async function run(
  builder: Builder,
  args: string[],
  o: { name: string; step: string; env?: Record<string, string> },
): Promise<void> {
  mkdirSync(LOGS, { recursive: true, mode: 0o700 });
  const log = join(LOGS, `image-${o.name}.log`);
  rmSync(log, { force: true });
  const child = execa(builder.program, args, {
    cwd: CHECKOUT,
    env: o.env ?? {},
    stdin: 'ignore',
    all: true,
    buffer: false,
    reject: false,
  });
  const report: Report = output.report;
  for await (const line of child.iterable({ from: 'all' })) {
    appendFileSync(log, `${line}\n`);
    if (line.trim() !== '')
      report({ kind: 'detail', step: o.step, text: line.trim().slice(0, 100), passing: true });
  }
  const { failed, exitCode } = await child;
  if (failed)
    throw new ShopError(
      `${builder.program} ${args[0]} of ${o.step} failed (code ${exitCode}):\n${logTail(log)}`,
      `see ${relative(process.cwd(), log)}`,
    );
}
