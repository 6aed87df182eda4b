import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTopology } from '../generator/topology.ts';
import { chooseContext } from '../k8s/kubectl.ts';
import { portForward } from '../k8s/port-forward.ts';
import { exitWithUsage, optionsOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { copyIntoPod, EDIT_IN_A_SERVICE, type Edit, editInAPackage, editToAnswer } from './edit-to-answer.ts';
import { machineLine } from './machine.ts';
import { markdown, median, percentile } from './statistics.ts';

const USAGE = `npm run bench -- edit [options]

The time from saving a file to the new answer, of the shop that \`tilt up\` runs. It makes a product there, and with --copy writes into the pods.

  --edits N       how many of each kind (default 20)
  --copy          without Tilt: copy each edit into the pods with kubectl, as Tilt does; for images of target dev
  --url URL       where the gateway's Service answers; default: a port-forward of kubectl to it
  --context NAME  the cluster, by its name in kubectl's configuration; without it the current one, if it is local by its name
  --help          this text`;

interface Place {
  namespace: string;
  context?: string;
}

/** `npm run bench -- edit`: edits files of this checkout, and puts them back as they were. */
export async function benchEdit(): Promise<void> {
  const text = { type: 'string' } as const;
  const options = {
    edits: { ...text, default: '20' },
    copy: { type: 'boolean', default: false },
    url: text,
    context: text,
  } as const;
  const { edits, copy, url: given, context: named } = optionsOrExit(USAGE, options, process.argv.slice(3));
  if (!/^[1-9]\d{0,3}$/.test(edits)) exitWithUsage(`--edits ${edits}: write a number from 1 to 9999`, USAGE);
  const { edge, services, ...at } = placeOrExit(named, given === undefined || copy);
  const forward = given ? undefined : await portForward(at.namespace, `service/${edge}`, [80], at);
  const url = given ?? `http://127.0.0.1:${forward?.ports[0]}`;
  try {
    const rows: string[][] = [];
    for (const edit of [EDIT_IN_A_SERVICE, editInAPackage(services)])
      rows.push(row(edit.name, await measure(edit, Number(edits), url, copy ? at : undefined)));
    console.log(`\n${machineLine()}; ${copy ? 'edits copied by kubectl' : 'Tilt'}\n`);
    console.log(markdown(['edit', 'n', 'median, s', 'p95, s', 'range, s'], rows));
  } finally {
    forward?.stop();
  }
}

/** What cannot be, ends the program before anything is changed: these edits are for no cluster that was met by accident. */
function placeOrExit(
  named: string | undefined,
  inCluster: boolean,
): Place & { edge: string; services: string[] } {
  try {
    const { namespace, edge, services } = loadTopology(join(CHECKOUT, 'topology.yaml'));
    const names = services.map(({ name }) => name);
    return { namespace, edge, services: names, ...(inCluster ? { context: chooseContext(named).name } : {}) };
  } catch (error) {
    complain(error);
    process.exit();
  }
}

async function measure(edit: Edit, count: number, url: string, copyTo: Place | undefined): Promise<number[]> {
  const path = join(CHECKOUT, edit.file);
  const original = readFileSync(path, 'utf8');
  const save = (content: string) => {
    writeFileSync(path, content);
    if (copyTo) for (const app of edit.apps) copyIntoPod(copyTo.namespace, app, edit.file, content, copyTo);
  };
  const restore = () => {
    writeFileSync(path, original);
    process.exit(130);
  };
  process.once('SIGINT', restore).once('SIGTERM', restore);
  try {
    const onAnswer = (seconds: number, n: number) =>
      console.error(`${edit.name}, ${n} of ${count}: ${seconds.toFixed(2)} s`);
    return await editToAnswer(edit, { count, url, original, save, onAnswer });
  } finally {
    process.off('SIGINT', restore).off('SIGTERM', restore);
  }
}

function row(name: string, seconds: number[]): string[] {
  const s = (value: number) => value.toFixed(2);
  const range = `${s(Math.min(...seconds))} to ${s(Math.max(...seconds))}`;
  return [name, String(seconds.length), s(median(seconds)), s(percentile(seconds, 0.95)), range];
}
