import { resolve } from 'node:path';
import { UserError } from './errors.ts';
import { createGateway } from './gateway-client.ts';
import { type LoadResult, loadCatalogue } from './import/load.ts';
import { type CatalogueReading, readCatalogue } from './import/read-catalogue.ts';
import { createRejectFile, rejectPath } from './import/rejects.ts';
import { startProgress } from './progress.ts';
import { openRetailFile } from './retail/records.ts';
import { COLUMNS, today } from './retail/sale-line.ts';
import { type ClientArguments, runClient } from './run-client.ts';
import { findShop } from './shop-address.ts';
import { createShopApi } from './shop-api.ts';
import { byCount, formatCount, formatTable } from './text.ts';

const USAGE = `Usage: npm run import -- FILE.csv [--rejects FILE] [--url URL]

Loads a retailer's catalogue from its sales: each product with its price on each day it was sold.
Of several prices on one day the last one counts, and a product's name is that of its last sale.
Lines on which goods came back (a negative quantity) are left aside: they repeat an earlier day's price.
Lines that cannot be used go, with line number and reason, to FILE.rejects.csv in the current folder.
Importing the same file again changes nothing.`;

const NEEDED = Object.values(COLUMNS).filter((column) => column !== COLUMNS.customer);
const REFUSALS_SHOWN = 10;

await runClient(
  {
    usage: USAGE,
    takesFile: true,
    options: ['rejects'],
    whenStopped: 'Stopped. Import the file again: what is done already is left as it is.',
  },
  importCatalogue,
);

async function importCatalogue({ file, options }: ClientArguments, signal: AbortSignal): Promise<boolean> {
  // npm runs scripts in the folder of package.json; file names are meant from where the command was typed.
  const typedIn = process.env.INIT_CWD ?? process.cwd();
  const input = resolve(typedIn, file);
  const url = await findShop(options.url, process.env);

  const retailFile = await openRetailFile(input, NEEDED);
  const rejectsAt = options.rejects ? resolve(typedIn, options.rejects) : rejectPath(input, typedIn);
  const rejects = await createRejectFile(rejectsAt, input, retailFile);
  const reading = await readCatalogue(retailFile.records, rejects, today()).finally(rejects.close);
  console.log(describeReading(reading, rejects.path));
  if (reading.products.length === 0) throw new UserError('There is no sale in it to make a catalogue of.');

  const shop = createShopApi(createGateway({ url, signal }));
  const progress = startProgress('Prices', countPrices(reading));
  const result = await loadCatalogue(shop, reading.products, progress.advance).finally(progress.stop);
  console.log(describeLoad(result));
  return result.refused.length === 0;
}

function countPrices({ products }: CatalogueReading): number {
  return products.reduce((sum, product) => sum + product.prices.length, 0);
}

function describeReading(reading: CatalogueReading, rejectFile: string): string {
  const table = formatTable([
    { label: 'Lines in the file', count: reading.records },
    { label: 'sales', count: reading.used, indent: 1 },
    { label: 'goods that came back, left aside', count: reading.returned, indent: 1 },
    { label: 'rejected', count: reading.rejected, indent: 1 },
    ...byCount(reading.reasons).map((reason) => ({ ...reason, indent: 2 })),
    { label: 'Products', count: reading.products.length },
    { label: 'Prices by product and day', count: countPrices(reading) },
  ]);
  return reading.rejected > 0 ? `${table}\nThe rejected lines are in ${rejectFile}.\n` : `${table}\n`;
}

function describeLoad(result: LoadResult): string {
  const refusals = result.refused.slice(0, REFUSALS_SHOWN).map(({ sku, reason }) => `  ${sku}: ${reason}`);
  const table = formatTable([
    { label: 'Products created', count: result.created },
    { label: 'Products that were there', count: result.existing },
    { label: 'Prices recorded', count: result.recorded },
    { label: 'Prices that were there', count: result.unchanged },
    { label: 'Products the shop refused something of', count: result.refused.length },
  ]);
  if (refusals.length > 0) return [table, 'The shop refused:', ...refusals].join('\n');
  const changes = result.created + result.recorded;
  return changes > 0
    ? table
    : `${table}\nNothing changed: the shop had all ${formatCount(result.unchanged)} prices.`;
}
