import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadTopology } from '../generator/topology.ts';
import { localBroker } from '../local/brokers.ts';
import { complain } from '../local/complaint.ts';
import { ProgramError } from '../local/programs/errors.ts';
import { ensureInstalled } from '../local/programs/installed.ts';
import { ensurePrograms } from '../local/programs/programs.ts';
import { ShopError } from '../local/shop-error.ts';
import { chooseCluster } from './cluster/choose-cluster.ts';
import { verdictOf } from './verdict.ts';

interface Summary {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; assertionResults: TestResult[] }[];
}

interface TestResult {
  status: string;
  fullName: string;
  meta?: { skipReason?: string };
}

/**
 * `npm test`: unit, integration and end-to-end tests; `npm run test:faults`: the long fault runs (SEED and ROUNDS by environment);
 * `npm run test:faults -- --broker redis`: end-to-end tests and fault runs on another broker than topology.yaml's;
 * `npm run test:cluster`: the tests on Kubernetes (docs/kubernetes.md).
 * Any further arguments go to vitest (`npm test -- orders`). Ends with one plain line `N passed, N failed`.
 */
const { args, broker } = takeBroker(process.argv.slice(2));
const PROJECTS: Partial<Record<string, string[]>> = { '--faults': ['faults'], '--cluster': ['cluster'] };
const kind = args.find((arg) => arg in PROJECTS);
const projects = broker
  ? ['e2e', ...(PROJECTS[kind ?? ''] ?? [])]
  : (PROJECTS[kind ?? ''] ?? ['unit', 'int', 'next-schema', 'e2e']);
const env = kind === '--cluster' ? await environmentOfCluster() : broker ? await environmentOf(broker) : {};
if (projects.some((name) => ['int', 'e2e', 'faults'].includes(name))) await prepare();
const report = join('.run', 'test-report.json');
mkdirSync('.run', { recursive: true });
rmSync(report, { force: true });

const child = spawn(
  process.execPath,
  [
    join('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    ...projects.flatMap((name) => ['--project', name]),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...args.filter((arg) => arg !== kind),
  ],
  { stdio: 'inherit', env: { ...process.env, ...env } },
);
child.on('close', (code) => {
  const summary = readSummary();
  if (!summary) {
    console.log('The tests did not run to their end: no report was written.');
    console.log('0 passed, 1 failed');
    process.exit(code || 1);
  }
  const brokenFiles = summary.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const { passed, failed, exitCode } = verdictOf({
    passed: summary.numPassedTests,
    failed: summary.numFailedTests,
    skipped: summary.numPendingTests + summary.numTodoTests,
    brokenFiles,
    code,
  });
  for (const file of summary.testResults)
    for (const test of file.assertionResults)
      if (test.status === 'skipped' || test.status === 'pending')
        console.log(`skipped: ${test.fullName}${because(test)}`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(exitCode);
});

/** What a build of minutes is part of would be out of time in a test that needs it, and would say nothing. Without them the tests say what they miss. */
async function prepare(): Promise<void> {
  try {
    await ensurePrograms({ env: process.env, progress: (line) => console.log(line) });
  } catch (err) {
    if (!(err instanceof ProgramError)) throw err;
    console.log(`${err.message}\nCure: ${err.cure}`);
  }
}

/** The name after `--broker`, and the arguments without the two. */
function takeBroker(all: string[]): { args: string[]; broker: string | undefined } {
  const at = all.indexOf('--broker');
  if (at < 0) return { args: all, broker: undefined };
  return { args: all.toSpliced(at, 2), broker: all[at + 1] ?? '' };
}

/** For tests of the shop on that broker. Ends the program when there is no such broker, or not on this machine. */
async function environmentOf(name: string): Promise<NodeJS.ProcessEnv> {
  try {
    const { program } = localBroker(name);
    if (program === 'redisServer') await ensureInstalled(program, process.env);
  } catch (err) {
    if (!(err instanceof ShopError)) throw err;
    const missing = err instanceof ProgramError;
    console.log(
      `${missing ? `skipped: the tests on ${name}, because ` : ''}${err.message}\nCure: ${err.cure}`,
    );
    console.log(`0 passed, ${missing ? 0 : 1} failed`);
    process.exit(missing ? 0 : 1);
  }
  return { SIDECART_TEST_BROKER: name };
}

/** Ends the program when there is no cluster to test on, or none that it would touch. */
async function environmentOfCluster(): Promise<NodeJS.ProcessEnv> {
  try {
    // The tests read it at their import, where a fault would come with a stack.
    loadTopology('topology.yaml');
  } catch (err) {
    complain(err);
    console.log('0 passed, 1 failed');
    process.exit(1);
  }
  const chosen = await chooseCluster(process.env);
  if ('context' in chosen) {
    console.log(`Testing on the cluster of the context ${chosen.context}.`);
    return chosen.env;
  }
  const refused = 'refuse' in chosen;
  console.log(refused ? chosen.refuse : `skipped: the tests on Kubernetes, because ${chosen.skip}`);
  console.log(`0 passed, ${refused ? 1 : 0} failed`);
  process.exit(refused ? 1 : 0);
}

function because({ meta }: TestResult): string {
  return meta?.skipReason ? ` because ${meta.skipReason}` : '';
}

function readSummary(): Summary | undefined {
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as Summary;
  } catch {
    return undefined;
  }
}
