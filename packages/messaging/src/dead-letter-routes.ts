import { currentContext } from '@sidecart/kit/context';
import type { Database } from '@sidecart/kit/db';
import { fieldErrors, ProblemError, type RequestPart } from '@sidecart/kit/problem';
import { readableActor } from '@sidecart/kit/readable-actor';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import type { Consumer } from './consumer.ts';
import { type Edit, editDeadLetter, findDeadLetter, listDeadLetters } from './dead-letters.ts';
import { discardDeadLetter, redriveDeadLetter } from './redrive.ts';
import { DEAD_LETTER_STATES } from './schema.ts';

const Id = z.object({
  id: z
    .string()
    .regex(/^[1-9]\d{0,17}$/, 'Expected the number of a dead letter')
    .transform(BigInt),
});
const List = z.strictObject({
  state: z.enum(DEAD_LETTER_STATES).default('waiting'),
  topic: z.string().optional(),
  before: Id.shape.id.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
const Note = z.string().trim().min(1).max(500);
const Discard = z.strictObject({ note: Note });
const EditBody = z.union([
  z.strictObject({ note: Note, data: z.unknown() }).refine((body) => 'data' in body, 'data is missing'),
  z.strictObject({ note: Note, envelope: z.record(z.string(), z.unknown()) }),
]);

/**
 * Mounts `/admin/dead-letters`: list, show, redrive, edit and discard, for who holds the app token. No sidecar is allowed to call it and the
 * gateway does not route it. Who did something is the request's actor (`x-sidecart-actor`), which must be readable
 * if it is given.
 */
export function mountDeadLetters(
  // biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
  app: Hono<any, any, any>,
  o: { database: Database; consumer: Pick<Consumer, 'topics' | 'drain'> },
): void {
  const { db } = o.database;
  const actor = () => currentContext()?.actor ?? 'unknown';
  app.use('/admin/dead-letters/*', readableActor);

  app.get('/admin/dead-letters', async (c) => {
    const query = read(List, c.req.query(), 'query');
    // One more tells whether there is a page after this one.
    const letters = await listDeadLetters(db, { ...query, limit: query.limit + 1 });
    const items = letters.slice(0, query.limit);
    return c.json({ items, next: letters.length > query.limit ? (items.at(-1)?.id ?? null) : null });
  });

  app.get('/admin/dead-letters/:id', async (c) => found(c, await findDeadLetter(db, idOf(c))));

  app.post('/admin/dead-letters/:id/redrive', async (c) =>
    found(c, await redriveDeadLetter(o, idOf(c), actor())),
  );

  app.post('/admin/dead-letters/:id/discard', async (c) => {
    const { note } = read(Discard, await c.req.json(), 'json');
    return found(c, await discardDeadLetter(o, idOf(c), { actor: actor(), note }));
  });

  app.put('/admin/dead-letters/:id/message', async (c) => {
    const { note, ...edit } = read(EditBody, await c.req.json(), 'json');
    const result = await editDeadLetter(o.database, idOf(c), edit as Edit, { actor: actor(), note });
    if (result === 'not_found') throw new ProblemError('not_found');
    if (result === 'not_waiting')
      throw new ProblemError('conflict', {
        detail: 'It was redriven or discarded already; nothing was changed.',
      });
    if (typeof result === 'object')
      throw new ProblemError('validation_failed', {
        errors: [{ pointer: '', code: 'not_usable', detail: result.refused }],
      });
    return c.json({ outcome: result });
  });
}

function idOf(c: Context): bigint {
  return read(Id, { id: c.req.param('id') }, 'param').id;
}

function read<S extends z.ZodType>(schema: S, input: unknown, part: RequestPart): z.output<S> {
  const parsed = schema.safeParse(input);
  if (!parsed.success)
    throw new ProblemError('validation_failed', { errors: fieldErrors(parsed.error, part, input) });
  return parsed.data;
}

function found(c: Context, value: object | undefined): Response {
  if (!value) throw new ProblemError('not_found');
  return c.json(value);
}
