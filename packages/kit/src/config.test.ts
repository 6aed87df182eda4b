import { expect, test } from 'vitest';
import { z } from 'zod';
import { baseConfig, ConfigError, loadConfig } from './config.ts';

const good = {
  PORT: '8103',
  APP_ID: 'orders',
  DAPR_HTTP_PORT: '3500',
  DAPR_API_TOKEN: 'd'.repeat(16),
  APP_API_TOKEN: 'a'.repeat(16),
};

test('defaults are filled in and the result is frozen', () => {
  const config = loadConfig(baseConfig, { ...good, HOME: '/root' });
  expect(config).toMatchObject({ PORT: 8103, HOST: '127.0.0.1', NAMESPACE: 'shop', LOG_LEVEL: 'info' });
  expect(config).not.toHaveProperty('HOME');
  expect(() => Object.assign(config, { PORT: 1 })).toThrow();
});

test('all faults are listed at once, each with its cure, none with its value', () => {
  const schema = baseConfig.extend({ PAGE: z.coerce.number().describe('a page size, e.g. 50') });
  const env = { ...good, PORT: 'eighty', APP_API_TOKEN: 'short-secret', DAPR_API_TOKEN: '', PAGE: undefined };
  const err = catchError(() => loadConfig(schema, env));
  expect(err).toBeInstanceOf(ConfigError);
  expect((err as ConfigError).faults.map((f) => [f.name, f.fault.split(' (')[0]])).toEqual([
    ['PORT', 'is not usable'],
    ['DAPR_API_TOKEN', 'is missing'],
    ['APP_API_TOKEN', 'is not usable'],
    ['PAGE', 'is missing'],
  ]);
  expect((err as Error).message).toContain('a page size, e.g. 50');
  expect((err as Error).message).not.toContain('short-secret');
});

function catchError(fn: () => unknown): unknown {
  try {
    return fn();
  } catch (err) {
    return err;
  }
}
