import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UserError } from './errors.ts';
import { createGateway } from './gateway-client.ts';
import { startProgress } from './progress.ts';
import { type Books, type KnownOrders, ordersToRead, readOrders, takeBooks } from './replay/books.ts';
import { createProducts, executeSteps, missingProducts } from './replay/execute.ts';
import { type Plan, planReplay } from './replay/plan.ts';
import { reportBooks, reportEndings, reportLines } from './replay/report.ts';
import { openRetailFile } from './retail/records.ts';
import { COLUMNS, type FaultyLine, readSaleLine, type SaleLine, today } from './retail/sale-line.ts';
import { type ClientArguments, runClient } from './run-client.ts';
import { findShop } from './shop-address.ts';
import { createShopApi, type ShopApi } from './shop-api.ts';
import { formatCount } from './text.ts';

const USAGE = `Usage: npm run replay -- FILE.csv [--limit N] [--url URL]

Replays a retailer's invoices, in date order, as orders at the shop: receives the stock that each needs, brings the
prices to those of the invoice, places the order, packs it, hands it over and delivers it as a warehouse would. A cancellation
(its number starts with C) takes back what it matches of the customer's earlier orders: a whole order of the same day is
cancelled, of others the lines are refunded and put on the shelf again. Then it takes the books of the shop, money included.
--limit takes the first N invoices only. Stopped and run again, or run twice within 24 hours, which is how long the
shop keeps idempotency keys, a replay receives and orders nothing twice.`;

/** An outage of the shop is waited out this long. */
const PATIENCE_MS = 180_000;
const SETTLE_WITHIN_MS = 60_000;

await runClient(
  {
    usage: USAGE,
    takesFile: true,
    options: ['limit'],
    whenStopped: 'Stopped. Run the same replay again: it carries on, and orders nothing twice.',
  },
  replayFile,
);

async function replayFile({ file, options }: ClientArguments, signal: AbortSignal): Promise<boolean> {
  // npm runs scripts in the folder of package.json; file names are meant from where the command was typed.
  const input = resolve(process.env.INIT_CWD ?? process.cwd(), file);
  const limit = readLimit(options.limit);
  const url = await findShop(options.url, process.env);

  const { lines, broken } = await readLines(input);
  const plan = planReplay(lines, limit);
  if (plan.withoutInvoice > 0) broken.set('no invoice number', plan.withoutInvoice);
  console.log(describePlan(plan));

  const shop = createShopApi(createGateway({ url, signal, patienceMs: PATIENCE_MS }));
  const missing = await missingProducts(shop, plan.products);
  const products = startProgress('Products', missing.length);
  await createProducts(shop, missing, products.advance).finally(products.stop);

  const fileId = await digestOf(input);
  const invoices = startProgress('Invoices', plan.steps.length);
  const replay = { shop, fileId, signal, onEnd: invoices.advance };
  const result = await executeSteps(replay, plan.steps).finally(invoices.stop);

  const inFile = new Set(lines.flatMap((line) => line.invoice ?? [])).size;
  const ends = reportEndings(result.endings, Math.min(limit, inFile), inFile);
  const taken = await takeWholeBooks(shop, result.orders, signal);
  const books = reportBooks(taken, result.wrongTotals);
  const doings =
    `${formatCount(missing.length)} products created, ${formatCount(result.priceChanges)} prices changed; ` +
    `${formatCount(result.repeated)} orders had been placed before (in an earlier run, or the answer was lost).`;
  console.log([ends.text, reportLines(plan.lines, broken), doings, books.text].join('\n\n'));
  return ends.good && books.good;
}

async function takeWholeBooks(shop: ShopApi, known: KnownOrders, signal: AbortSignal): Promise<Books> {
  const others = await ordersToRead(shop, known);
  const progress = startProgress('Other orders, for the books', others.length);
  await readOrders(shop, others, known, progress.advance).finally(progress.stop);
  return takeBooks(shop, { signal, patienceMs: SETTLE_WITHIN_MS, known });
}

function readLimit(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UserError(`--limit takes a number of invoices, not ${text}.`);
  return Number(text);
}

/** The lines of a file, and how many records are no lines, by what is wrong with them. */
async function readLines(input: string) {
  const { records } = await openRetailFile(input, Object.values(COLUMNS));
  const lines: (SaleLine | FaultyLine)[] = [];
  const broken = new Map<string, number>();
  const lastDay = today();
  for await (const record of records) {
    if ('fault' in record) broken.set(record.fault, (broken.get(record.fault) ?? 0) + 1);
    else lines.push(readSaleLine(record, lastDay));
  }
  return { lines, broken };
}

/** Enough of the SHA-256 to tell files apart, short enough for an idempotency key. */
async function digestOf(input: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(input), hash);
  return hash.digest('hex').slice(0, 16);
}

function describePlan({ steps, products }: Plan): string {
  const orders = steps.filter((step) => step.kind === 'order').length;
  const n = formatCount;
  return `${n(steps.length)} invoices, ${n(orders)} of them orders, of ${n(products.length)} products.\n`;
}
