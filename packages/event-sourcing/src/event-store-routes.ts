import { currentContext } from '@sidecart/kit/context';
import type { Database } from '@sidecart/kit/db';
import { masked } from '@sidecart/kit/masked';
import { Moment } from '@sidecart/kit/moment';
import { fieldErrors, ProblemError, type RequestPart } from '@sidecart/kit/problem';
import { readableActor } from '@sidecart/kit/readable-actor';
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { adoptDatabase } from './adopt.ts';
import type { AnyAggregate } from './aggregate.ts';
import type { ArchiveStore } from './archive.ts';
import { type CondenseDeps, condenseStream, type Decision } from './condense.ts';
import { listCondensings, readHistory, stateAt, streamHead } from './history.ts';
import { loadStream } from './load.ts';
import { condensePage } from './policy.ts';
import { eventStoreProblems } from './problems.ts';
import type { Projector } from './projector.ts';
import { restoreStream } from './restore.ts';
import { forgetSubscription, listSubscriptions } from './subscription.ts';

const DAY_MS = 86_400_000;

const reason = z.string().trim().min(1).max(500);
const Reason = z.strictObject({ reason });
const Condense = z.strictObject({ reason, up_to: z.int().min(1).optional() });
const CondensePolicy = z.strictObject({
  reason,
  type: z.string().optional(),
  /** Of the last event. */
  age_days: z.number().min(0).max(36_500).default(30),
  /** Since it was last condensed. */
  events: z.int().min(2).default(20),
  closed: z.boolean().default(true),
  /** Where the page before ended. */
  after: z.string().default(''),
});
const At = z.strictObject({
  at: Moment.transform((text) => new Date(text)).optional(),
});

export interface EventStoreRoutes {
  database: Database;
  /** Of every type of stream that the service has. */
  aggregates: readonly AnyAggregate[];
  archive: ArchiveStore;
  /** The topics that tell of these streams, by messages whose key is the stream's id. */
  topics: readonly string[];
  projector: Pick<Projector, 'names' | 'rebuild'>;
}

/**
 * Mounts `/admin/events`: read models, histories, condensing and restoring, for who holds the app token. No sidecar is allowed to call
 * it and the gateway does not route it. Who did something is the request's actor (`x-sidecart-actor`), which must be readable if
 * it is given. A refusal is a problem of `eventStoreProblems`, which a service that mounts this adds to its own.
 */
export function mountEventStore(
  // biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
  app: Hono<any, any, any>,
  o: EventStoreRoutes,
): void {
  const { database, projector } = o;
  const types = o.aggregates.map(({ type }) => type);
  app.use('/admin/events/*', readableActor);

  /** What the event store needs to know of a stream, by its type. */
  async function stream(c: Context): Promise<CondenseDeps & { streamId: string }> {
    const streamId = c.req.param('id') ?? '';
    const head = await streamHead(database, streamId);
    const aggregate = o.aggregates.find(({ type }) => type === head?.type);
    if (!aggregate) throw new ProblemError('no_stream', { detail: `There is no stream ${streamId}.` });
    return { ...o, aggregate, streamId };
  }

  app.get('/admin/events/projections', async (c) => {
    const items = await listSubscriptions(database);
    return c.json({
      types,
      names: projector.names,
      items: items.map(({ codeVersion, toBuild, ...item }) => ({
        ...item,
        code_version: codeVersion,
        to_build: toBuild,
      })),
    });
  });

  app.post('/admin/events/projections/:name/rebuild', async (c) => {
    const outcome = await orProblem(() => projector.rebuild(c.req.param('name')));
    return c.json({ outcome });
  });

  app.delete('/admin/events/projections/:name', async (c) => {
    const name = c.req.param('name');
    if (projector.names.includes(name)) throw new ProblemError('projection_in_use');
    if (!(await forgetSubscription(database, name))) throw new ProblemError('unknown_projection');
    return c.json({ outcome: 'forgotten' });
  });

  app.get('/admin/events/streams/:id', async (c) => {
    const { at } = read(At, c.req.query(), 'query');
    const deps = await stream(c);
    const { streamId, aggregate } = deps;
    const found = await orProblem(() =>
      at ? stateAt<unknown>(deps, streamId, at) : loadStream<unknown>(database.db, aggregate, streamId),
    );
    if (!found)
      throw new ProblemError('no_stream', { detail: `There was no ${aggregate.type} ${streamId} yet.` });
    const { state, version } = found;
    return c.json({
      stream_id: streamId,
      type: aggregate.type,
      version,
      state: masked(state, aggregate.secret ?? []),
    });
  });

  app.get('/admin/events/streams/:id/history', async (c) => {
    const deps = await stream(c);
    const { streamId, aggregate } = deps;
    const [events, condensings] = await orProblem(() =>
      Promise.all([readHistory(deps, streamId), listCondensings(database, streamId)]),
    );
    return c.json({
      stream_id: streamId,
      type: aggregate.type,
      events: events.map(({ version, at, meta, event: { type, ...data } }) => ({
        version,
        at,
        type,
        data: masked(data, aggregate.secret ?? []),
        meta,
      })),
      condensings,
    });
  });

  app.post('/admin/events/streams/:id/condense', async (c) => {
    const body = read(Condense, await c.req.json(), 'json');
    const deps = await stream(c);
    const done = await orProblem(() => condenseStream(deps, deps.streamId, decision(body), body.up_to));
    const { streamId, fromVersion, toVersion, events } = done;
    return c.json({ stream_id: streamId, from_version: fromVersion, to_version: toVersion, events });
  });

  app.post('/admin/events/streams/:id/restore', async (c) => {
    const body = read(Reason, await c.req.json(), 'json');
    const deps = await stream(c);
    const done = await orProblem(() => restoreStream(deps, deps.streamId, decision(body)));
    const { streamId, fromVersion, toVersion, more } = done;
    return c.json({ stream_id: streamId, from_version: fromVersion, to_version: toVersion, more });
  });

  app.post('/admin/events/condense', async (c) => {
    const body = read(CondensePolicy, await c.req.json(), 'json');
    const aggregate = o.aggregates.find(({ type }) => type === (body.type ?? types[0]));
    if (!aggregate || (body.type === undefined && types.length > 1))
      throw new ProblemError('validation_failed', {
        errors: [{ pointer: '/type', code: 'not_allowed', detail: `Expected one of ${types.join(', ')}` }],
      });
    const policy = { ageMs: body.age_days * DAY_MS, events: body.events, closed: body.closed };
    const page = await orProblem(() => condensePage({ ...o, aggregate }, policy, decision(body), body.after));
    return c.json(page);
  });

  app.post('/admin/events/adopt', async (c) => c.json(await adoptDatabase(database)));
}

function decision(body: { reason: string }): Decision {
  return { by: currentContext()?.actor ?? 'unknown', reason: body.reason };
}

/** What the event store refuses is a problem of the same code. */
async function orProblem<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = (cause as { code?: unknown }).code;
    if (cause instanceof Error && typeof code === 'string' && Object.hasOwn(eventStoreProblems, code))
      throw new ProblemError(code, { detail: cause.message, cause });
    throw cause;
  }
}

function read<S extends z.ZodType>(schema: S, input: unknown, part: RequestPart): z.output<S> {
  const parsed = schema.safeParse(input);
  if (!parsed.success)
    throw new ProblemError('validation_failed', { errors: fieldErrors(parsed.error, part, input) });
  return parsed.data;
}
