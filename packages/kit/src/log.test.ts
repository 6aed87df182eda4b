import { expect, test } from 'vitest';
import { newTraceparent, runInContext, traceIdOf } from './context.ts';
import { createLogger } from './log.ts';

function capture(level = 'info') {
  const lines: Record<string, unknown>[] = [];
  let raw = '';
  const destination = {
    write(line: string) {
      raw += line;
      lines.push(JSON.parse(line));
    },
  };
  return { log: createLogger({ service: 'orders', level, destination }), lines, raw: () => raw };
}

test('one JSON object a line, with ISO time, service and the context', () => {
  const { log, lines } = capture();
  const traceparent = newTraceparent();
  runInContext({ traceparent, requestId: 'r1', actor: 'a' }, () => log.info({ port: 1 }, 'ready'));
  log.info('outside');
  expect(lines[0]).toMatchObject({
    level: 'info',
    service: 'orders',
    message: 'ready',
    port: 1,
    request_id: 'r1',
    trace_id: traceIdOf(traceparent),
  });
  expect(lines[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(lines[1]).not.toHaveProperty('request_id');
});

test('secrets never reach the line', () => {
  const { log, raw } = capture();
  const secret = 'hunter2-secret';
  log.info({ password: secret, token: secret, headers: { authorization: secret, cookie: secret } }, 'a');
  log.info({ req: { headers: { 'dapr-api-token': secret, 'set-cookie': secret } } }, 'b');
  log.info(
    { a: [{ b: { c: { d: { apiToken: secret, 'X-Auth-Token': `a"${secret}` } } } }], cookie: [secret] },
    'deep',
  );
  log.info({ 'set-cookie': [`a=${secret}`, `b=${secret}`] }, 'list');
  log.info({ config: { APP_API_TOKEN: secret, DAPR_API_TOKEN: secret, DATABASE_URL: secret } }, 'c');
  log.info(`connecting to postgres://orders:${secret}@127.0.0.1:5432/orders?sslmode=disable`);
  log.error({ err: new Error(`bad url nats://user:${secret}@h:4222`) }, 'd');
  log.error({ err: new Error('outer', { cause: new Error(`redis://:${secret}@h`) }) }, 'e');
  expect(raw()).not.toContain(secret);
  expect(raw()).toContain('postgres://orders:[redacted]@127.0.0.1:5432/orders');
});

test('a failed query is logged without its parameters, with the cause that tells why', () => {
  const { log, lines, raw } = capture();
  const cause = Object.assign(new Error('duplicate key'), { code: '23505' });
  const err = new Error('Failed query: insert into orders values ($1)\nparams: Jane Doe', { cause });
  Object.assign(err, { query: 'insert into orders values ($1)', params: ['Jane Doe'] });
  log.error({ err }, 'failed');
  expect(raw()).not.toContain('Jane Doe');
  expect(lines[0]?.err).toMatchObject({
    message: 'Failed query: insert into orders values ($1)',
    cause: { code: '23505', message: 'duplicate key' },
  });
  expect(raw()).toContain('log.test.ts');
});

test('whatever is thrown can be logged', () => {
  const { log, lines } = capture();
  log.error({ err: 'just text' }, 'a');
  log.error({ err: undefined }, 'b');
  const err = new Error('no stack');
  delete err.stack;
  log.error({ err }, 'c');
  expect(lines).toHaveLength(3);
});

test('a line that was made to be slow is not', () => {
  const { log } = capture();
  const startedAt = performance.now();
  for (const text of [
    'a://'.repeat(30_000),
    'a.'.repeat(60_000),
    '"token":['.repeat(10_000),
    'a:'.repeat(60_000),
  ]) {
    log.info({ path: `${text}://:` }, 'request');
  }
  expect(performance.now() - startedAt).toBeLessThan(1000);
});
