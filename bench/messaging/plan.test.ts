import { expect, test } from 'vitest';
import { OWN, planOf } from './plan.ts';

const settings = { rounds: 5, seconds: 1, backlog: 10, soakMinutes: 0, defaults: false };

test('the load at half load is half of what the arm reached with writers running', () => {
  const half = planOf(settings).find(({ cell }) => cell === 'half load');
  const place = { publishUrl: '', headers: {}, receiverUrl: '' };
  const job = half?.job(OWN, { place, rate: (cell) => (cell === 'writers running' ? 900 : undefined) });
  expect(job).toMatchObject({ perSecond: 450 });
});

test('defaults and the soak only where they are asked for', () => {
  const cells = planOf({ ...settings, defaults: true, soakMinutes: 1 });
  expect(cells.filter(({ once }) => once).length).toBe(5);
  expect(planOf(settings).some(({ once }) => once)).toBe(false);
});
