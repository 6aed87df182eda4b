import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadTopology } from '../generator/topology.ts';
import { portForward } from '../k8s/port-forward.ts';
import { exitWithUsage, optionsOrExit } from '../local/command-line.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { machineLine } from './machine.ts';
import { markdown, median, percentile } from './statistics.ts';

const USAGE = `npm run bench -- edit [options]

The time from saving a file to the new answer, of the shop that \`tilt up\` runs on the current kube context.

  --edits N     how many of each kind (default 20)
  --copy        without Tilt: copy each edit into the pods with kubectl, as Tilt does; for images of target dev
  --url URL     where the gateway's Service answers; default: a port-forward of kubectl to it
  --help        this text`;

/** Seldom enough to leave the processor to what is being started. */
const POLL_MS = 50;
const PATIENCE_MS = 60_000;

/** A text in a source file that a client gets to see, and how. */
interface Edit {
  name: string;
  file: string;
  text: string;
  /** Applications that run the file. */
  apps: string[];
  /** How to get the text from each service that is looked at, as it answers now. */
  asks: ((url: string) => Promise<string>)[];
}

const SKU = 'BENCH-EDIT';

const EDITS: Edit[] = [
  {
    name: 'in a service (products)',
    file: 'services/products/src/problems.ts',
    text: 'There is another product with this SKU',
    apps: ['products'],
    asks: [(url) => createProduct(url, 'another')],
  },
  {
    name: 'in a package (kit, used by all), until three services answer anew',
    file: 'packages/kit/src/problem-definitions.ts',
    text: 'There is no such thing',
    apps: ['gateway', 'inventory', 'orders', 'products'],
    asks: ['products/NONE', 'stock/NONE', 'orders/ord_00000000-0000-7000-8000-000000000000'].map(
      (path) => (url) => answer(`${url}/v1/${path}`),
    ),
  },
];

/** `npm run bench -- edit`: edits files of this checkout, and puts them back as they were. */
export async function benchEdit(): Promise<void> {
  const text = { type: 'string' } as const;
  const options = {
    edits: { ...text, default: '20' },
    copy: { type: 'boolean', default: false },
    url: text,
  } as const;
  const { edits, copy, url: given } = optionsOrExit(USAGE, options, process.argv.slice(3));
  if (!/^[1-9]\d{0,3}$/.test(edits)) exitWithUsage(`--edits ${edits}: write a number from 1 to 9999`, USAGE);
  const { namespace, edge } = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const forward = given ? undefined : await portForward(namespace, `service/${edge}`, [80]);
  const url = given ?? `http://127.0.0.1:${forward?.ports[0]}`;
  try {
    await createProduct(url, 'first');
    const rows: string[][] = [];
    for (const edit of EDITS)
      rows.push(row(edit.name, await measure(edit, Number(edits), url, copy ? namespace : undefined)));
    console.log(`\n${machineLine()}; ${copy ? 'edits copied by kubectl' : 'Tilt'}\n`);
    console.log(markdown(['edit', 'n', 'median, s', 'p95, s', 'range, s'], rows));
  } finally {
    forward?.stop();
  }
}

/** Seconds from saving to the new answer, of each edit. */
async function measure(
  edit: Edit,
  count: number,
  url: string,
  copyTo: string | undefined,
): Promise<number[]> {
  const path = join(CHECKOUT, edit.file);
  const original = readFileSync(path, 'utf8');
  if (!original.includes(edit.text)) throw new Error(`${edit.file} does not say '${edit.text}'`);
  const save = (content: string) => {
    writeFileSync(path, content);
    if (copyTo) for (const app of edit.apps) copyIntoPod(copyTo, app, edit.file, content);
  };
  const restore = () => {
    writeFileSync(path, original);
    process.exit(130);
  };
  process.once('SIGINT', restore).once('SIGTERM', restore);
  const seconds: number[] = [];
  try {
    for (let n = 1; n <= count; n += 1) {
      const startedAt = performance.now();
      save(original.replace(edit.text, `${edit.text} (${n})`));
      await untilAnswered(edit, url, `${edit.text} (${n})"`);
      seconds.push((performance.now() - startedAt) / 1000);
      console.error(`${edit.name}, ${n} of ${count}: ${seconds.at(-1)?.toFixed(2)} s`);
      // Not in step with the probes.
      await sleep(500 + Math.random() * 1500);
    }
  } finally {
    save(original);
    process.off('SIGINT', restore).off('SIGTERM', restore);
  }
  await untilAnswered(edit, url, `${edit.text}"`);
  return seconds;
}

async function untilAnswered(edit: Edit, url: string, wanted: string): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (const ask of edit.asks)
    for (;;) {
      const answered = await ask(url);
      if (answered.includes(wanted)) break;
      if (performance.now() > until)
        throw new Error(
          `no answer with ${wanted} after ${PATIENCE_MS / 1000} s, the last was: ${answered}\nIs \`tilt up\` running on this checkout?`,
        );
      await sleep(POLL_MS);
    }
}

/** The file is written into, not replaced: see tilt/dev. */
function copyIntoPod(namespace: string, app: string, file: string, content: string): void {
  const into = ['exec', '--stdin', `--namespace=${namespace}`, `deployment/${app}`, '--container=app'];
  execFileSync('kubectl', [...into, '--', 'sh', '-c', 'cat > "$0"', `/app/${file}`], {
    input: content,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

const createProduct = (url: string, name: string) =>
  answer(`${url}/v1/products`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sku: SKU, name, unit_price: { amount: 100, currency: 'GBP' } }),
  });

/** The body, or why there is none. */
async function answer(url: string, init: RequestInit = {}): Promise<string> {
  try {
    return await (await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) })).text();
  } catch (error) {
    return String((error as Error).cause ?? error);
  }
}

function row(name: string, seconds: number[]): string[] {
  const s = (value: number) => value.toFixed(2);
  const range = `${s(Math.min(...seconds))} to ${s(Math.max(...seconds))}`;
  return [name, String(seconds.length), s(median(seconds)), s(percentile(seconds, 0.95)), range];
}
