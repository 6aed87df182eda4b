import { join } from 'node:path';
import { styleText } from 'node:util';
import { loadTopology } from '../generator/topology.ts';
import { optionsOrExit } from './command-line.ts';
import { checkMachine, type Finding, type Machine, thisMachine } from './machine.ts';
import { CHECKOUT } from './run-paths.ts';

const USAGE = `npm run doctor

Says what a start needs of this machine, how it stands, and the cure of what is wrong. Exit code 1 when a start would fail.`;

const SIGNS: Record<Finding['state'], [string, 'green' | 'yellow' | 'red']> = {
  ok: ['ok', 'green'],
  later: ['later', 'yellow'],
  wrong: ['WRONG', 'red'],
};

optionsOrExit(USAGE, {});
const findings = await checkMachine(machineOrExit());
const width = Math.max(...findings.map((finding) => finding.what.length));
for (const finding of findings) {
  const [sign, colour] = SIGNS[finding.state];
  const lines = [finding.is, ...(finding.cure === undefined ? [] : [`Cure: ${finding.cure}`])]
    .join('\n')
    .split('\n');
  const indent = ' '.repeat(width + 9);
  console.log(
    `${styleText(colour, sign.padEnd(7))}${finding.what.padEnd(width + 2)}${lines.join(`\n${indent}`)}`,
  );
}
const wrong = findings.filter((finding) => finding.state === 'wrong').length;
console.log(wrong === 0 ? '\nReady for `npm start`.' : `\n${wrong} of these prevent a start.`);
process.exitCode = wrong === 0 ? 0 : 1;

/** For the broker that the table names; a table with a fault ends the program with what is wrong. */
function machineOrExit(): Machine {
  try {
    return thisMachine(loadTopology(join(CHECKOUT, 'topology.yaml')).broker);
  } catch (err) {
    const { message, cure } = err as Error & { cure?: string };
    console.error(cure ? `${message}\nCure: ${cure}` : message);
    process.exit(1);
  }
}
