import { OpenAPIHono, type RouteConfig, z } from '@hono/zod-openapi';
import { genericProblems, type ProblemDefinition } from './problem-definitions.ts';

/** What every problem document looks like to a client. */
const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().meta({ description: 'Stable; what programs should look at.' }),
    detail: z.string().optional(),
    instance: z.string().optional(),
    trace_id: z.string().optional(),
    request_id: z.string().optional(),
    errors: z
      .array(
        z
          .looseObject({ pointer: z.string(), code: z.string(), detail: z.string() })
          .meta({ description: 'One place at fault.' }),
      )
      .optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457, with the places at fault.' });

/** The header parameter of routes that take an Idempotency-Key; checked by kit/idempotency, not by the schema. */
export const idempotencyKeyParameter = {
  name: 'Idempotency-Key',
  in: 'header' as const,
  required: true,
  description:
    '1 to 128 visible ASCII characters, e.g. a UUID. The same key again makes nothing new for 24 hours.',
  schema: { type: 'string' as const, minLength: 1, maxLength: 128 },
};

/**
 * The `responses` of a route for the problems it may answer with, one entry per status.
 *
 * @example responses: { 200: json(Order), ...problemAnswers(problems, 'not_found', 'order_not_cancellable') }
 */
export function problemAnswers<D extends Record<string, ProblemDefinition>>(
  own: D,
  ...codes: (keyof D | keyof typeof genericProblems)[]
): Record<never, never> {
  const known: Record<string, ProblemDefinition> = { ...genericProblems, ...own };
  const byStatus = new Map<number, string[]>();
  for (const code of codes) {
    const definition = known[String(code)];
    if (!definition) throw new Error(`No problem ${String(code)} is defined`);
    const line = `\`${String(code)}\`: ${definition.title}.`;
    byStatus.set(definition.status, [...(byStatus.get(definition.status) ?? []), line]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, lines]) => [
      status,
      {
        description: lines.join(' '),
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  );
}

/** A `responses` entry with a JSON body. */
export function jsonAnswer<S extends z.ZodType>(description: string, schema: S) {
  return { description, content: { 'application/json': { schema } } };
}

/** A `request.body` that must be there. */
export function jsonBodyOf<S extends z.ZodType>(schema: S) {
  return { required: true as const, content: { 'application/json': { schema } } };
}

/** The `request.query` of a route that takes none: an unknown parameter is a mistake there too. */
export const noQuery = z.strictObject({});

/** The OpenAPI 3.1 document of these routes, made without an app and without I/O. */
export function openApiDocumentOf(title: string, routes: readonly RouteConfig[]) {
  const registrar = new OpenAPIHono();
  for (const route of routes) registrar.openAPIRegistry.registerPath(route);
  return registrar.getOpenAPI31Document({ openapi: '3.1.0', info: { title, version: '1' } });
}
