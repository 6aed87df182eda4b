import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CHECKOUT } from '../local/run-paths.ts';

/** What the commands below are made of. */
const COPIED = [
  'bench',
  'components/brokers',
  'generator',
  'k8s',
  'local',
  'operate',
  'platform',
  'tests/check.ts',
  'package.json',
  'package-lock.json',
];

const table = readFileSync(join(CHECKOUT, 'topology.yaml'), 'utf8');
let checkout: string;
beforeAll(() => {
  checkout = mkdtempSync(join(tmpdir(), 'sidecart-typo-'));
  for (const path of COPIED) cpSync(join(CHECKOUT, path), join(checkout, path), { recursive: true });
  symlinkSync(join(CHECKOUT, 'node_modules'), join(checkout, 'node_modules'));
});
afterAll(() => rmSync(checkout, { recursive: true, force: true }));

/** One of the scripts of package.json as npm runs it, in a checkout whose table has `from` written as `to`. */
async function run(script: string, args: string[], typo: [string, string]) {
  const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
  const [, ...command] = (scripts[script] as string).split(' ');
  return runProgram([...command, ...args], typo);
}

async function runProgram(command: string[], [from, to]: [string, string]) {
  expect(table).toContain(from);
  writeFileSync(join(checkout, 'topology.yaml'), table.replace(from, to));
  const child = spawn(process.execPath, command, {
    cwd: checkout,
    env: { ...process.env, SIDECART_RUN_DIR: join(checkout, '.run') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await exited;
  return { code, out, err, line: table.slice(0, table.indexOf(from)).split('\n').length };
}

const INVENTORY: [string, string] = ['consumes: [inventory, ', 'consumes: [inventry, '];
const COMMANDS: [string, string[]][] = [
  ['start', []],
  ['k8s', ['secrets']],
  ['k8s', ['databases']],
  ['images', []],
  ['dlq', ['list']],
  ['bench', ['edit']],
  ['db:generate', []],
  ['generate', []],
];

test('what Tilt asks before it reads the table tells of an unknown field too', async () => {
  const { code, err } = await runProgram(
    ['local/bootstrap.mjs', 'generator/check-table.ts'],
    ['database: true', 'databse: true'],
  );
  expect(code).toBe(1);
  expect(err).toContain('databse');
  expect(err).toContain('Cure: ');
  expect(err).not.toMatch(/\n\s+at /);
});

test.each(COMMANDS)(
  'npm run %s %j tells a typo in the table with its line and the cure',
  async (script, args) => {
    const { code, out, err, line } = await run(script, args, INVENTORY);
    expect(err).toContain(`line ${line}: services.orders.consumes.0: There is no service inventry`);
    expect(err).toContain('\nCure: correct topology.yaml where it says so');
    expect(err).not.toMatch(/^\s+at |TopologyError|faults: \[/m);
    expect({ code, out }).toEqual({ code: 1, out: '' });
  },
);

test('npm run check names the cure of a broker that there is not, and no other', async () => {
  const { code, out, err } = await run(
    'check',
    [],
    [/^broker: .*$/m.exec(table)?.[0] ?? '', 'broker: kafka'],
  );
  expect(err).toContain(
    'topology.yaml, broker: there is no components/brokers/kafka.yaml\nCure: name one of ',
  );
  expect(out).toMatch(/^FAILED {2}generated files \(.* s\)\. Cure: as it says above$/m);
  expect(out).not.toContain('npm run ');
  expect(code).toBe(1);
}, 120_000);

// The control: what is thrown anywhere else keeps its stack.
test('an error that is nobody’s slip of the pen is shown with its stack', async () => {
  const topology = join(checkout, 'generator', 'topology.ts');
  const original = readFileSync(topology, 'utf8');
  writeFileSync(topology, original.replace('extends ShopError {', 'extends Error {'));
  try {
    const { err } = await run('k8s', ['secrets'], INVENTORY);
    expect(err).toMatch(/^\s+at /m);
  } finally {
    writeFileSync(topology, original);
  }
});

test('the usage is shown whatever the table says', async () => {
  for (const script of ['dlq', 'k8s', 'images'])
    expect(await run(script, ['--help'], INVENTORY)).toMatchObject({ code: 0, err: '' });
});
