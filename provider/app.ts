import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { type Books, type Demand, type Entry, KeyReused, type Operation } from './books.ts';
import { Faults, type Mishaps } from './mishaps.ts';
import type { WebhookSender } from './webhooks.ts';

type Env = { Bindings: HttpBindings };

export interface ProviderDeps {
  books: Books;
  mishaps: Mishaps;
  /** What its customers say as `Authorization: Bearer <key>`. */
  apiKey: string;
  /** Writes a line of the books down before anybody hears of it. */
  keep: (entry: Entry) => void;
  webhooks?: WebhookSender | undefined;
}

const amount = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
const reference = z.string().min(1).max(200);
const Authorisation = z.strictObject({
  reference,
  amount,
  currency: z.string().regex(/^[A-Z]{3}$/),
  token: z.string().regex(/^tok_[a-z0-9_]{1,60}$/),
});
const Capture = z.strictObject({ amount });
const Refund = z.strictObject({ amount, reference });
const Nothing = z.strictObject({});

/** The provider's HTTP API. Below /v1 it asks for the key; the rest is for the tests and for those who look on. */
export function createProviderApp(deps: ProviderDeps): Hono<Env> {
  const app = new Hono<Env>();
  const { books, mishaps } = deps;

  app.get('/livez', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', (c) => c.json({ status: 'ready' }));
  app.get('/ledger', (c) => c.json({ items: books.ledger() }));
  app.put('/faults', async (c) => {
    const faults = Faults.safeParse(await c.req.json().catch(() => undefined));
    if (!faults.success) return c.json({ error: 'invalid', message: z.prettifyError(faults.error) }, 422);
    mishaps.set(faults.data);
    return c.json(faults.data);
  });

  app.use('/v1/*', async (c, next) => {
    if (!isKey(c.req.header('authorization'), deps.apiKey)) return c.json({ error: 'unauthorised' }, 401);
    return next();
  });
  app.get('/v1/operations/:key', (c) => {
    const operation = books.find(c.req.param('key'));
    return operation ? c.json(operation) : c.json({ error: 'unknown_operation' }, 404);
  });
  app.post('/v1/authorisations', (c) =>
    take(c, deps, Authorisation, (body) => ({ kind: 'authorise', ...body })),
  );
  app.post('/v1/authorisations/:id/capture', (c) =>
    take(c, deps, Capture, ({ amount }) => ({ kind: 'capture', authorisationId: c.req.param('id'), amount })),
  );
  app.post('/v1/authorisations/:id/void', (c) =>
    take(c, deps, Nothing, () => ({ kind: 'void', authorisationId: c.req.param('id') })),
  );
  app.post('/v1/authorisations/:id/refunds', (c) =>
    take(c, deps, Refund, (body) => ({ kind: 'refund', authorisationId: c.req.param('id'), ...body })),
  );
  app.notFound((c) => c.json({ error: 'not_found' }, 404));
  return app;
}

/** Works on a demand, once per key, and answers as well as the mishaps let it. */
async function take<S extends z.ZodType>(
  c: Context<Env>,
  deps: ProviderDeps,
  schema: S,
  demandOf: (body: z.output<S>) => Demand,
): Promise<Response> {
  const { books, mishaps } = deps;
  const key = c.req.header('idempotency-key');
  if (!key || key.length > 200) return c.json({ error: 'idempotency_key_missing' }, 400);
  const body = schema.safeParse(await c.req.json().catch(() => ({})));
  if (!body.success) return c.json({ error: 'invalid', message: z.prettifyError(body.error) }, 422);
  const demand = demandOf(body.data);
  const token = demand.kind === 'authorise' ? demand.token : books.tokenOf(demand.authorisationId);

  if (mishaps.before(key, token).down) return c.json({ error: 'unavailable' }, 503);
  let operation: Operation;
  try {
    const done = books.perform(key, demand);
    operation = done.operation;
    if (done.entry) {
      deps.keep(done.entry);
      void deps.webhooks?.tell(operation, mishaps.webhooks(token)).then(() => mishaps.told(key));
    }
  } catch (err) {
    if (err instanceof KeyReused) return c.json({ error: 'idempotency_key_reused' }, 422);
    throw err;
  }

  const { mishap, waitMs } = mishaps.after(key, token);
  if (waitMs > 0) await sleep(waitMs);
  if (mishap === 'silence') await hungUp(c);
  if (mishap !== 'none') c.env.outgoing.destroy();
  return c.json(operation, operation.state === 'succeeded' ? 201 : 402);
}

/** For as long as whoever asks is ready to wait. */
function hungUp(c: Context<Env>): Promise<void> {
  return new Promise((resolve) => {
    c.env.outgoing.once('close', resolve);
  });
}

function isKey(header: string | undefined, key: string): boolean {
  const given = Buffer.from(header ?? '');
  const wanted = Buffer.from(`Bearer ${key}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
