import { expect, test } from 'vitest';
import { renderTable } from './table.ts';

test('the table adds up', () => {
  const row = { url: 'http://127.0.0.1:1', sidecar: 'http://127.0.0.1:2', state: 'ready' };
  const text = renderTable([
    { ...row, service: 'orders', memory: 110_400_000 },
    { ...row, service: 'nats', sidecar: '', memory: 19_000_000 },
  ]);
  for (const word of ['orders', 'nats', 'http://127.0.0.1:2', '110 MB', 'total', '129 MB'])
    expect(text).toContain(word);
});
