import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

interface Summary {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { name: string; status: string; assertionResults: { status: string; fullName: string }[] }[];
}

/**
 * `npm test`: unit, integration and end-to-end tests; `npm run test:faults`: the long fault runs (SEED and ROUNDS by environment).
 * Any further arguments go to vitest (`npm test -- orders`). Ends with one plain line `N passed, N failed`.
 */
const args = process.argv.slice(2);
const faults = args.includes('--faults');
const projects = faults ? ['faults'] : ['unit', 'int', 'e2e'];
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
    ...args.filter((arg) => arg !== '--faults'),
  ],
  { stdio: 'inherit' },
);
child.on('close', (code) => {
  const summary = readSummary();
  if (!summary) {
    console.log('The tests did not run to their end: no report was written.');
    console.log('0 passed, 1 failed');
    process.exit(code || 1);
  }
  // A file that fails before its first test (an import, a hook) has no failed test of its own; it must count all the same.
  const brokenFiles = summary.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = summary.numFailedTests + brokenFiles;
  for (const file of summary.testResults)
    for (const test of file.assertionResults)
      if (test.status === 'skipped' || test.status === 'pending') console.log(`skipped: ${test.fullName}`);
  console.log(`${summary.numPassedTests} passed, ${failed} failed`);
  process.exit(failed > 0 || summary.numPassedTests === 0 ? 1 : (code ?? 1));
});

function readSummary(): Summary | undefined {
  try {
    return JSON.parse(readFileSync(report, 'utf8')) as Summary;
  } catch {
    return undefined;
  }
}
