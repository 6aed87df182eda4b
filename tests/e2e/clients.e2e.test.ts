import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { call, type Target } from './shop.ts';

let shop: Target;
let dir: string;
let file: string;
let rejectFile: string;

const header = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';
/** Products and invoices of this run alone, whatever a shop has seen before: a code is five digits, then letters. */
const run = String(randomInt(1000, 10_000));
const [CUP, RED, BLUE, UNNAMED, PADS] = ['1', '2a', '2A', '3', '4'].map((end) => run + end) as [
  string,
  string,
  string,
  string,
  string,
];
const invoice = (n: number) => `5${run}${n}`;
/** Made-up rows, one of each peculiarity of a real retailer's file; £ is one byte in Latin-1. */
const rows = [
  `${invoice(3)},${BLUE},BLUE BOWL,2,2011-03-02 10:00:00,2.10,11.0,United Kingdom`,
  `${invoice(1)},${CUP},"TEA CUP, \xa3 SIGN",6,2010-12-01 09:00:00,0.85,10.0,United Kingdom`,
  `${invoice(1)},${CUP},"TEA CUP, \xa3 SIGN",2,2010-12-01 09:00:00,0.85,10.0,United Kingdom`,
  `${invoice(1)},${RED},RED BOWL,1,2010-12-01 09:00:00,1.95,10.0,United Kingdom`,
  `${invoice(2)},${CUP},"TEA CUP, \xa3 SIGN",4,2011-01-05 12:00:00,0.95,12.0,France`,
  `C${invoice(4)},${BLUE},BLUE BOWL,-2,2011-03-03 10:00:00,2.10,11.0,United Kingdom`,
  `C${invoice(5)},${CUP},"TEA CUP, \xa3 SIGN",-1,2011-03-04 10:00:00,0.95,99.0,United Kingdom`,
  `${invoice(6)},POST,POSTAGE,1,2011-03-05 10:00:00,18.00,12.0,France`,
  `${invoice(7)},${UNNAMED},,-5,2011-03-06 10:00:00,0.0,,United Kingdom`,
  `${invoice(8)},${PADS},PADS,1,2011-03-07 10:00:00,0.001,12.0,France`,
  `${invoice(9)},${RED},RED BOWL,3,2011-03-08 10:00:00,1.95,13.0,France`,
  `C${invoice(10)},${RED},RED BOWL,-3,2011-03-08 16:00:00,1.95,13.0,France`,
  `C${invoice(11)},${CUP},"TEA CUP, \xa3 SIGN",-1,2011-03-09 10:00:00,0.95,12.0,France`,
];

beforeAll(async () => {
  shop = await openShop();
  dir = await mkdtemp(join(tmpdir(), 'sidecart-clients-'));
  file = join(dir, 'retail.csv');
  rejectFile = join(dir, 'retail.rejects.csv');
  await writeFile(file, Buffer.from(`${[header, ...rows].join('\r\n')}\r\n`, 'latin1'));
});
afterAll(async () => {
  await shop?.stop();
  await rm(dir, { recursive: true, force: true });
});

function client(script: string, ...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((done) => {
    execFile(
      process.execPath,
      ['local/bootstrap.mjs', `clients/${script}.ts`, ...args, '--url', shop.gatewayUrl],
      { encoding: 'utf8', timeout: 100_000 },
      (err, stdout, stderr) => done({ code: err ? Number(err.code ?? 1) : 0, output: stdout + stderr }),
    );
  });
}

describe('the clients, as a user runs them', () => {
  test('the demo walks through the whole checkout, a settlement by hand, and what is refused, twice', async () => {
    for (const round of [1, 2]) {
      const { code, output } = await client('demo');
      expect({ round, code, output: code === 0 ? '' : output }).toEqual({ round, code: 0, output: '' });
      for (const word of [
        'GET /v1/products',
        'POST /v1/orders',
        'confirmed',
        '/packages',
        '/hand-over',
        'shipped',
        'delivered',
        '/refunds',
        'payment_declined',
        'cancelled',
        '/settlement',
        'out_of_stock',
        'price_changed',
        '409',
      ])
        expect(output).toContain(word);
    }
  });

  test('the import loads the catalogue, names what it refuses, and a second run changes nothing', async () => {
    const first = await client('import', file, '--rejects', rejectFile);
    expect({ code: first.code, output: first.code === 0 ? '' : first.output }).toEqual({
      code: 0,
      output: '',
    });
    const cup = (await call(shop.gatewayUrl, 'GET', `/v1/products/${CUP}`)).body;
    expect(cup).toMatchObject({ name: 'TEA CUP, £ SIGN', unit_price: { amount: 95, currency: 'GBP' } });
    const history = (await call(shop.gatewayUrl, 'GET', `/v1/products/${CUP}/prices`)).body.items;
    expect(history.map((price: { effective_on: string }) => price.effective_on).sort()).toEqual([
      '2010-12-01',
      '2011-01-05',
    ]);
    const bowls = [RED, BLUE].map((sku) => call(shop.gatewayUrl, 'GET', `/v1/products/${sku}`));
    expect((await Promise.all(bowls)).map((bowl) => bowl.body.name)).toEqual(['RED BOWL', 'BLUE BOWL']);
    const rejects = await readFile(rejectFile, 'utf8');
    for (const line of [9, 10, 11]) expect(rejects).toMatch(new RegExp(`^${line},`, 'm'));

    const versions = () =>
      Promise.all(
        [CUP, RED, BLUE].map(
          async (sku) => (await call(shop.gatewayUrl, 'GET', `/v1/products/${sku}`)).body.version,
        ),
      );
    const before = await versions();
    const second = await client('import', file, '--rejects', rejectFile);
    expect(second.code).toBe(0);
    expect(await versions()).toEqual(before);
  });

  test('the replay ends every invoice in one way, the counts add up and the books balance; again changes nothing', async () => {
    const first = await client('replay', file);
    expect({ code: first.code, output: first.code === 0 ? '' : first.output }).toEqual({
      code: 0,
      output: '',
    });
    expect(first.output).toMatch(/^ +delivered +3$/m);
    expect(first.output).toMatch(/^ +cancelled +2$/m);
    expect(first.output).toMatch(/^ +cancellation that was refunded +2$/m);
    expect(first.output).toMatch(/^ +cancellation without a match +1$/m);
    const stock = (await call(shop.gatewayUrl, 'GET', `/v1/stock/${CUP}`)).body;
    expect(stock).toMatchObject({ received: 12, on_hand: 1, reserved: 0, committed: 11 });
    const bowls = (await call(shop.gatewayUrl, 'GET', `/v1/stock/${BLUE}`)).body;
    expect(bowls).toMatchObject({ received: 2, on_hand: 2, committed: 0 });
    const again = await client('replay', file);
    expect(again.code).toBe(0);
    expect((await call(shop.gatewayUrl, 'GET', `/v1/stock/${CUP}`)).body).toEqual(stock);
  });
});
