import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A text in a source file that a client gets to see, and how. */
export interface Edit {
  name: string;
  file: string;
  text: string;
  /** Applications that run the file. */
  apps: string[];
  /** How to get the text from each service that is looked at, as it answers now. */
  asks: ((url: string) => Promise<string>)[];
}

/** Seldom enough to leave the processor to what is being started. */
const POLL_MS = 50;
const PATIENCE_MS = 60_000;
const SKU = 'BENCH-EDIT';

export const EDIT_IN_A_SERVICE: Edit = {
  name: 'in a service (products)',
  file: 'services/products/src/problems.ts',
  text: 'There is another product with this SKU',
  apps: ['products'],
  asks: [(url) => createProduct(url, 'another')],
};

/** @param services all of the table: each runs kit, and platform does */
export const editInAPackage = (services: string[]): Edit => ({
  name: 'in a package (kit, used by all), until three services answer anew',
  file: 'packages/kit/src/problem-definitions.ts',
  text: 'There is no such thing',
  apps: [...services, 'platform'],
  asks: ['products/NONE', 'stock/NONE', 'orders/ord_00000000-0000-7000-8000-000000000000'].map(
    (path) => (url) => answer(`${url}/v1/${path}`),
  ),
});

/**
 * Seconds from saving to the new answer, of each edit. The text ends as it was.
 * @param save has the file's new content from now on
 * @throws when an answer is not the edited one within a minute
 */
export async function editToAnswer(
  edit: Edit,
  o: {
    count: number;
    url: string;
    original: string;
    save: (content: string) => void;
    onAnswer?: (seconds: number, n: number) => void;
  },
): Promise<number[]> {
  if (!o.original.includes(edit.text)) throw new Error(`${edit.file} does not say '${edit.text}'`);
  await createProduct(o.url, 'first');
  const seconds: number[] = [];
  try {
    for (let n = 1; n <= o.count; n += 1) {
      const startedAt = performance.now();
      o.save(o.original.replace(edit.text, `${edit.text} (${n})`));
      await untilAnswered(edit, o.url, `${edit.text} (${n})"`);
      const took = (performance.now() - startedAt) / 1000;
      seconds.push(took);
      o.onAnswer?.(took, n);
      // Not in step with the probes.
      await sleep(500 + Math.random() * 1500);
    }
  } finally {
    o.save(o.original);
  }
  await untilAnswered(edit, o.url, `${edit.text}"`);
  return seconds;
}

/** Copies a file into the pods of an application, as Tilt does. It is written into, not replaced: see tilt/dev. */
export function copyIntoPod(
  namespace: string,
  app: string,
  file: string,
  content: string,
  o: {
    /** Default: the current one. */
    context?: string;
  } = {},
): void {
  const at = o.context === undefined ? [] : [`--context=${o.context}`];
  const into = ['exec', '--stdin', `--namespace=${namespace}`, `deployment/${app}`, '--container=app'];
  execFileSync('kubectl', [...at, ...into, '--', 'sh', '-c', 'cat > "$0"', `/app/${file}`], {
    input: content,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
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
