import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MUG, PIECES } from '../../operate/chaos/orders.ts';
import { deadLetters, type LocalShop, stockOf, testShop } from './shop.ts';

let shop: LocalShop;
beforeAll(async () => {
  shop = await testShop();
});
afterAll(() => shop?.stop());

const ORDERS = 60;

test('orders that are placed while the broker, a sidecar and two services are killed have their effect once, twice over', async () => {
  const victims = [shop.broker, 'inventory-dapr', 'payments', 'orders'];
  for (const round of [1, 2]) {
    const { exitCode, stdout, stderr } = await execa(
      process.execPath,
      ['local/bootstrap.mjs', 'operate/chaos.ts', '--orders', String(ORDERS)],
      { env: { SIDECART_RUN_DIR: shop.runDir }, reject: false },
    );
    const output = `${stdout}\n${stderr}`;
    expect({ round, exitCode, output: exitCode === 0 ? '' : output }).toEqual({
      round,
      exitCode: 0,
      output: '',
    });
    expect(stdout).toMatch(/SEED=\d+/);
    for (const victim of victims) {
      expect(stdout).toContain(`killed ${victim} (process `);
      const { restarts, state } = shop.find(victim);
      expect({ victim, state, again: restarts >= round }).toEqual({ victim, state: 'ready', again: true });
    }
    for (const [what, count] of [
      ['orders placed', ORDERS],
      ['orders confirmed', ORDERS],
      ['pieces set aside or committed', ORDERS * PIECES],
      ['orders whose total is authorised once', ORDERS],
    ])
      expect(stdout).toMatch(new RegExp(`${what} +\\S +${count} +\\S +${count} +\\S +as expected`));
    expect(stdout).toMatch(/dead letters of inventory .* none .* none .* as expected/);

    // What the command says is so.
    const taken = round * ORDERS * PIECES;
    const left = { received: taken, on_hand: 0, reserved: 0, committed: taken };
    expect(await stockOf(shop.gatewayUrl, MUG.sku)).toMatchObject(left);
    expect(await deadLetters(shop)).toEqual([]);
    const held = (await shop.ledger()).filter(({ kind }) => kind === 'authorised');
    expect(held).toHaveLength(round * ORDERS);
  }
}, 300_000);
