import { exitWithUsage, wholeNumberOrExit } from '../local/command-line.ts';
import { ShopError } from '../local/shop-error.ts';
import { type EventsClient, eventsOf, type StoreStatus } from './events-client.ts';
import { addPage, historyText, type PolicyOutcome, plural, policyText, statusText } from './events-view.ts';
import { watchRebuild } from './events-watch.ts';
import {
  askEach,
  type Command,
  flag,
  type OptionValues,
  reach,
  refuseOthers,
  runCommand,
  SHOP_OPTIONS,
  SHOP_USAGE,
  type Takes,
  text,
  topology,
} from './operator.ts';

const USAGE = `npm run events -- COMMAND [options]

The histories of event-sourced services, and the read models that are made from them (docs/event-sourcing.md).

  status               each read model: which rows are read, what is being built, how far it is
  rebuild NAME         make a read model anew, beside the one that is read
  forget NAME          forget a read model that no code has any more, so that it holds up no condensing
  show STREAM          a thing as it is, or with --at as it was
  history STREAM       what happened to it: when, what, who, by which request
  condense STREAM      put one event with its state in the place of its events, which move to the archive
  condense --policy    all that are old, long and closed; nobody else needs to look at them one by one
  restore STREAM       undo the newest condensing
  adopt                after the database was restored from a dump into another server

  --reason TEXT     why; condense and restore want it
  --service NAME    of this service; needed where several have histories
  --up-to VERSION   condense STREAM: leave the events after this one
  --age-days N      condense --policy: of the last event, at least (default 30)
  --events N        condense --policy: since it was last condensed, at least (default 20)
  --open            condense --policy: take those too that are not closed
  --at INSTANT      show: at this moment, such as 2026-11-27T09:30:00Z
  --json            show, history: as the service answers it
${SHOP_USAGE}`;

const OPTIONS = {
  ...{ reason: text, at: text, 'up-to': text, 'age-days': text, events: text },
  ...{ policy: flag, open: flag, json: flag },
  ...SHOP_OPTIONS,
};
type Options = OptionValues<typeof OPTIONS>;
/** Each of the two ways to condense. */
const CONDENSE = {
  STREAM: ['service', 'reason', 'up-to'],
  '--policy': ['service', 'reason', 'policy', 'age-days', 'events', 'open'],
} satisfies Takes<typeof OPTIONS>;
const TAKES: Takes<typeof OPTIONS> = {
  status: ['service'],
  rebuild: ['service'],
  forget: ['service'],
  show: ['service', 'at', 'json'],
  history: ['service', 'json'],
  condense: Object.values(CONDENSE).flat(),
  restore: ['service', 'reason'],
  adopt: ['service'],
};

interface Found {
  service: string;
  client: EventsClient;
  store: StoreStatus;
}

/** The services that have an event store; who does not answer is told of, and `complete` is false. */
async function stores(o: Options): Promise<{ found: Found[]; complete: boolean }> {
  const withDatabase = topology()
    .services.filter(({ database }) => database)
    .map(({ name }) => name);
  if (o.service !== undefined && !withDatabase.includes(o.service))
    throw new ShopError(`${o.service} is no service with a database`, `those are ${withDatabase.join(', ')}`);
  const asked = o.service === undefined ? withDatabase : [o.service];
  const { answers: found, complete } = await askEach(asked, async (service) => {
    const { access, as } = await reach(service, o);
    const client = eventsOf(service, access, as);
    const store = await client.status();
    return store && { service, client, store };
  });
  if (found.length === 0)
    throw new ShopError(
      `${o.service ?? 'no service here'} ${o.service ? 'has no' : 'has an'} event store`,
      'docs/event-sourcing.md says how a service gets one',
    );
  return { found, complete };
}

/** The one that is meant. */
async function one(o: Options): Promise<Found> {
  const { found } = await stores(o);
  const [first, ...others] = found as [Found, ...Found[]];
  if (others.length === 0) return first;
  throw new ShopError(
    `several services have histories: ${found.map(({ service }) => service).join(', ')}`,
    'name one with --service NAME',
  );
}

async function ofProjection(name: string, o: Options): Promise<Found> {
  const { found } = await stores(o);
  const having = found.filter(
    ({ store }) =>
      store.names.includes(name) ||
      store.items.some((item) => item.name === name && item.state !== 'retired'),
  );
  const [first, ...others] = having;
  if (first && others.length === 0) return first;
  const names = found.flatMap(({ service, store }) => store.names.map((known) => `${service}/${known}`));
  throw new ShopError(
    first ? `several services have a read model ${name}` : `there is no read model ${name}`,
    first ? 'name one with --service NAME' : `there are ${names.join(', ')}`,
  );
}

const COMMANDS: Record<string, Command<typeof OPTIONS>> = {
  async status(args, o) {
    if (args.length > 0) exitWithUsage('status takes no name', USAGE);
    const { found, complete } = await stores(o);
    console.log(statusText(found));
    for (const { service, client } of found) {
      const reason = await client.trouble();
      if (reason !== undefined) console.log(`${service}: ${reason}`);
    }
    return complete;
  },

  async rebuild(args, o) {
    const name = single(args, 'rebuild', 'NAME');
    const its = await ofProjection(name, o);
    const { outcome } = await its.client.rebuild(name);
    if (outcome === 'already_building') console.log(`${its.service}/${name} is being built already`);
    console.log(await watchRebuild(its, name));
    return true;
  },

  async forget(args, o) {
    const name = single(args, 'forget', 'NAME');
    const { service, client } = await ofProjection(name, o);
    await client.forget(name);
    console.log(`${service}/${name} is forgotten; its rows are for the migration that drops their table`);
    return true;
  },

  async show(args, o) {
    const stream = single(args, 'show', 'STREAM');
    const shown = await (await one(o)).client.show(stream, o.at);
    if (o.json) console.log(JSON.stringify(shown, null, 2));
    else
      console.log(
        `${shown.type} ${shown.stream_id}, version ${shown.version}\n${JSON.stringify(shown.state, null, 2)}`,
      );
    return true;
  },

  async history(args, o) {
    const stream = single(args, 'history', 'STREAM');
    const history = await (await one(o)).client.history(stream);
    console.log(o.json ? JSON.stringify(history, null, 2) : historyText(history));
    return true;
  },

  async condense(args, o) {
    const way = o.policy ? '--policy' : 'STREAM';
    refuseOthers(`condense ${way}`, o, CONDENSE[way], USAGE);
    if (o.policy) return condenseByPolicy(args, o);
    const stream = single(args, 'condense', 'STREAM, or --policy');
    const reason = o.reason ?? exitWithUsage('condense wants --reason TEXT: why', USAGE);
    const upTo = o['up-to'] === undefined ? {} : { up_to: number(o['up-to'], '--up-to', 1) };
    const { client } = await one(o);
    const done = await client.condense(stream, { reason, ...upTo });
    console.log(
      `${stream}: ${plural(done.events, 'event')} up to version ${done.to_version} gave way to one, and are in the archive`,
    );
    return true;
  },

  async restore(args, o) {
    const stream = single(args, 'restore', 'STREAM');
    const reason = o.reason ?? exitWithUsage('restore wants --reason TEXT: why', USAGE);
    const { client } = await one(o);
    const { from_version: from, to_version: to, more } = await client.restore(stream, { reason });
    const rest =
      more === 0 ? 'all its events are there' : `${plural(more, 'older archive')} can be restored next`;
    console.log(`${stream}: versions ${from} to ${to} are back; ${rest}`);
    return true;
  },

  async adopt(args, o) {
    if (args.length > 0) exitWithUsage('adopt takes no name', USAGE);
    const { found, complete } = await stores(o);
    for (const its of found) {
      const { events, projections } = await its.client.adopt();
      if (events === 0 && projections.length === 0) {
        console.log(`${its.service}: nothing is of another server`);
        continue;
      }
      console.log(
        `${its.service}: took over ${plural(events, 'event')}; built anew: ${projections.join(', ')}`,
      );
      for (const name of projections)
        if (its.store.names.includes(name)) console.log(await watchRebuild(its, name));
    }
    return complete;
  },
};

async function condenseByPolicy(args: string[], o: Options): Promise<boolean> {
  if (args.length > 0) exitWithUsage('condense takes a STREAM or --policy, not both', USAGE);
  const reason = o.reason ?? exitWithUsage('condense wants --reason TEXT: why', USAGE);
  const policy = {
    reason,
    age_days: number(o['age-days'] ?? '30', '--age-days', 0),
    events: number(o.events ?? '20', '--events', 2),
    closed: !o.open,
  };
  const { client, store } = await one(o);
  let all: PolicyOutcome = { condensed: 0, events: 0, open: 0, refused: {} };
  for (const type of store.types)
    for (let after: string | null = ''; after !== null; ) {
      const page = await client.condensePage({ ...policy, type, after });
      all = addPage(all, page);
      after = page.next;
      if (after !== null) console.error(`${type}: ${plural(all.condensed, 'stream')} so far, at ${after}`);
    }
  console.log(policyText(all));
  return true;
}

function single(args: string[], command: string, what: string): string {
  const [first] = args;
  if (first === undefined || args.length !== 1)
    exitWithUsage(`${command} wants one ${what}, got ${args.length}`, USAGE);
  return first;
}

function number(given: string, name: string, least: number): number {
  return wholeNumberOrExit(given, name, { usage: USAGE, least });
}

await runCommand(USAGE, OPTIONS, COMMANDS, TAKES);
