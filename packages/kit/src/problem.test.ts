import { HTTPException } from 'hono/http-exception';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { DaprError } from './dapr-error.ts';
import { DomainError } from './domain-error.ts';
import { defineProblems, fieldErrors, genericProblems, ProblemError, toProblem } from './problem.ts';

defineProblems({
  test_price_changed: { status: 409, title: 'A price has changed', cure: 'Look at errors.' },
});

test.each<[string, unknown, string, number]>([
  ['an own code', new ProblemError('test_price_changed'), 'test_price_changed', 409],
  [
    'a rule with a registered code',
    new DomainError('conflict', 'test_price_changed'),
    'test_price_changed',
    409,
  ],
  ['a rule without: not-found', new DomainError('not-found', 'x'), 'not_found', 404],
  ['a rule without: conflict', new DomainError('conflict', 'x'), 'conflict', 409],
  ['a rule without: refused', new DomainError('refused', 'x'), 'validation_failed', 422],
  ['a rule without: invalid', new DomainError('invalid', 'x'), 'validation_failed', 422],
  ['a sidecar that is away', new DaprError('unavailable', 'x'), 'upstream_unavailable', 503],
  ['a sidecar that is slow', new DaprError('timeout', 'x'), 'upstream_timeout', 503],
  ['a database that is away', withCode('ECONNREFUSED'), 'upstream_unavailable', 503],
  ['a statement timeout', withCode('57014'), 'upstream_unavailable', 503],
  ['a wrapped cause', new Error('Failed query', { cause: withCode('57P01') }), 'upstream_unavailable', 503],
  ['a wrapped rule', new Error('x', { cause: new DomainError('not-found', 'x') }), 'not_found', 404],
  ['broken JSON seen by Hono', new HTTPException(400), 'malformed_json', 400],
  ['a broken constraint', withCode('23505'), 'internal', 500],
  ['data of ours that breaks its schema', z.int().safeParse('x').error, 'internal', 500],
  ['an unregistered code', new ProblemError('nobody_knows'), 'internal', 500],
  ['anything else', new TypeError('x is undefined'), 'internal', 500],
  ['no error at all', 'text', 'internal', 500],
  ['nothing', undefined, 'internal', 500],
])('%s', (_name, err, code, status) => {
  expect(toProblem(err)).toMatchObject({ code, status });
});

test('a circle of causes ends', () => {
  const a = new Error('a');
  a.cause = new Error('b', { cause: a });
  expect(toProblem(a).code).toBe('internal');
});

test('a 5xx says nothing of its cause', () => {
  const problem = toProblem(
    new ProblemError('internal', { detail: 'password is hunter2', cause: new Error('x') }),
  );
  expect(JSON.stringify(problem)).not.toContain('hunter2');
});

test('Retry-After is whole seconds, at least one', () => {
  expect(toProblem(new ProblemError('overloaded', { retryAfterSeconds: 0.2 })).headers).toEqual({
    'Retry-After': '1',
  });
  expect(toProblem(new DaprError('timeout', 'x')).headers).toEqual({ 'Retry-After': '1' });
});

test('a code has one meaning', () => {
  const definition = { status: 409, title: 'a', cure: 'b' };
  defineProblems({ test_once: definition });
  expect(() => defineProblems({ test_once: { ...definition } })).not.toThrow();
  expect(() => defineProblems({ test_once: { ...definition, status: 422 } })).toThrow(/already defined/);
  expect(() => defineProblems({ not_found: definition })).toThrow(/already defined/);
  expect(() => defineProblems({ 'Not-Snake': definition })).toThrow(/snake_case/);
});

test('every generic problem is complete', () => {
  for (const problem of Object.values(genericProblems)) {
    expect(problem.status).toBeGreaterThanOrEqual(400);
    expect(problem.title.length).toBeGreaterThan(5);
    expect(problem.cure.length).toBeGreaterThan(10);
  }
});

test('every fault is listed, with its place', () => {
  const schema = z.strictObject({
    name: z.string().min(2),
    lines: z.array(
      z.strictObject({
        sku: z.string().regex(/^[A-Z]+$/),
        quantity: z.int().min(1).max(10),
        step: z.int().multipleOf(5).optional(),
      }),
    ),
    status: z.enum(['active', 'retired']),
    'odd/~key': z.string(),
    price: z.union([z.strictObject({ amount: z.int() }), z.string()]),
  });
  const input = {
    name: 'x',
    lines: [
      { sku: 'a', quantity: 0, colour: 'red' },
      { quantity: 'two', step: 7 },
    ],
    status: 'gone',
    price: { amount: 1.5 },
    extra: true,
  };
  const errors = fieldErrors(schema.safeParse(input).error as z.ZodError, 'json', input);
  expect(errors.map((e) => [e.pointer, e.code])).toEqual(
    expect.arrayContaining([
      ['/name', 'too_small'],
      ['/lines/0/sku', 'invalid_format'],
      ['/lines/0/quantity', 'too_small'],
      ['/lines/0/colour', 'unknown_field'],
      ['/lines/1/sku', 'required'],
      ['/lines/1/quantity', 'wrong_type'],
      ['/lines/1/step', 'not_multiple_of'],
      ['/status', 'not_allowed'],
      ['/odd~1~0key', 'required'],
      ['/price/amount', 'wrong_type'],
      ['/extra', 'unknown_field'],
    ]),
  );
  expect(errors).toHaveLength(11);
  expect(errors.every((e) => e.detail.length > 0)).toBe(true);
});

test('a missing value is told from one of the wrong type even without the input', () => {
  const error = z.object({ a: z.string(), b: z.string() }).safeParse({ b: 1 }).error as z.ZodError;
  expect(fieldErrors(error).map((e) => e.code)).toEqual(['required', 'wrong_type']);
});

test('parts other than the body are named', () => {
  const error = z.object({ limit: z.coerce.number().max(200) }).safeParse({ limit: '900' })
    .error as z.ZodError;
  expect(fieldErrors(error, 'query')[0]?.pointer).toBe('query:limit');
  expect(fieldErrors(error, 'param')[0]?.pointer).toBe('path:limit');
});

test('a schema may give its own code and further members', () => {
  const schema = z.string().superRefine((_value, ctx) => {
    ctx.addIssue({
      code: 'custom',
      message: 'Is there twice.',
      params: { code: 'duplicate_line', first: '/lines/0' },
    });
  });
  const error = schema.safeParse('x').error as z.ZodError;
  expect(fieldErrors(error)).toEqual([
    { pointer: '', code: 'duplicate_line', detail: 'Is there twice.', first: '/lines/0' },
  ]);
});

test('an answer does not grow with the number of faults', () => {
  const errors = Array.from({ length: 5000 }, (_, i) => ({ pointer: `/${i}`, code: 'x', detail: 'x' }));
  const problem = toProblem(new ProblemError('validation_failed', { errors }));
  expect(problem.errors).toHaveLength(1000);
  expect(problem.detail).toBe('1000 of 5000 faults are listed.');
});

function withCode(code: string): Error {
  return Object.assign(new Error(code), { code });
}
