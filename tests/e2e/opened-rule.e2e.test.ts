import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callThrough, testShop } from './shop.ts';

test('control of least privilege: with the rule opened a call that it refuses passes, so the refusal is the rule', async () => {
  const daprDir = await mkdtemp(join(tmpdir(), 'sidecart-dapr-'));
  cpSync('dapr', daprDir, { recursive: true });
  const file = join(daprDir, 'products', 'configuration.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replaceAll('defaultAction: deny', 'defaultAction: allow'));
  const open = await testShop({ daprDir });
  try {
    const quote = { method: 'POST', body: { skus: ['X'] }, appId: 'products' };
    expect((await callThrough(open, 'inventory', '/v1/quotes', quote)).status).toBe(200);
  } finally {
    await open.stop();
    await rm(daprDir, { recursive: true });
  }
});
