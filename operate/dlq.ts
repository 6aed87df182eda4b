import { readFileSync } from 'node:fs';
import { PAYMENT_SECRETS } from '@sidecart/contracts/payments';
import { maskedText, unmasked } from '@sidecart/kit/masked';
import type { DeadLetterSummary, DeadLetterView } from '@sidecart/messaging/dead-letters';
import { SELF } from '@sidecart/messaging/outbox-insert';
import Table from 'cli-table3';
import { exitWithUsage } from '../local/command-line.ts';
import { ShopError } from '../local/shop-error.ts';
import { NoAnswerError } from './ask.ts';
import { type DeadLettersClient, deadLettersOf } from './dead-letters-client.ts';
import {
  askEach,
  type Command,
  flag,
  type OptionValues,
  reach,
  runCommand,
  SHOP_OPTIONS,
  SHOP_USAGE,
  type Takes,
  text,
  topology,
} from './operator.ts';
import { receivers } from './service-access.ts';

const USAGE = `npm run dlq -- COMMAND [options]

Messages that a service can never handle: its dead letters (docs/messages.md). What fails for now is tried again by itself.

  list                          those that wait for a decision, of every service
  show SERVICE/ID               one, with its content and what was done about it
  redrive SERVICE/ID...         handle it once more, by the same handler under the same id; --all: all that wait
  edit SERVICE/ID               put other content in its place: --data FILE, or --envelope FILE when that cannot be read
  discard SERVICE/ID...         give it up; what waits behind it goes on without it

  --note TEXT       why; discard and edit want it
  --service NAME    list, redrive --all: of one service only
  --topic NAME      list, redrive --all: of one topic only
  --state STATE     list: waiting (default), redriven or discarded
${SHOP_USAGE}`;

const OPTIONS = {
  ...{ note: text, topic: text, state: text, data: text, envelope: text, all: flag },
  ...SHOP_OPTIONS,
};
type Options = OptionValues<typeof OPTIONS>;
const TAKES: Takes<typeof OPTIONS> = {
  list: ['service', 'topic', 'state'],
  redrive: ['all', 'service', 'topic'],
  edit: ['data', 'envelope', 'note'],
  discard: ['note'],
};

async function clientOf(service: string, o: Options): Promise<DeadLettersClient> {
  if (!receivers(topology()).includes(service))
    throw new ShopError(
      `${service} is no service that takes messages`,
      `those that do are ${receivers(topology()).join(', ')}`,
    );
  const { access, as } = await reach(service, o);
  return deadLettersOf(service, access, as);
}

/** Those of every service that answers; who does not is told of, and `complete` is false. */
async function list(o: Options): Promise<{ items: DeadLetterSummary[]; complete: boolean }> {
  const asked = o.service === undefined ? receivers(topology()) : [o.service];
  const { answers, complete } = await askEach(asked, async (service) => {
    const its = await (await clientOf(service, o)).list({ state: o.state, topic: o.topic });
    return its.map((item) => ({ ...item, id: `${service}/${item.id}` }));
  });
  const items = answers.flat();
  // One that the table has no more may still have some.
  if (items.length === 0 && o.topic !== undefined && !topics().includes(o.topic))
    throw new ShopError(`There is no topic ${o.topic}`, `those that there are: ${topics().join(', ')}`);
  return { items, complete };
}

const topics = () => [SELF, ...topology().topics.map(({ name }) => name)];

const COMMANDS: Record<string, Command<typeof OPTIONS>> = {
  async list(ids, o) {
    if (ids.length > 0) exitWithUsage('list takes no id', USAGE);
    const { items, complete } = await list(o);
    if (items.length > 0) console.log(tableOf(items));
    else if (complete) console.log(`None ${o.state ?? 'waiting'}.`);
    return complete;
  },

  async show(ids, o) {
    const [{ service, id }] = read(ids, 1);
    print(service, await (await clientOf(service, o)).show(id));
    return true;
  },

  async redrive(ids, o) {
    if (o.all && ids.length > 0) exitWithUsage('redrive takes ids or --all, not both', USAGE);
    const redrive = async ({ service, id }: { service: string; id: string }) =>
      (await clientOf(service, o)).redrive(id);
    const of = ['service', 'topic'].find((name) => Object.hasOwn(o, name));
    if (!o.all && of !== undefined) exitWithUsage(`redrive takes --${of} with --all only`, USAGE);
    if (!o.all) return each(ids, false, redrive);
    const { items, complete } = await list({ ...o, state: 'waiting' });
    if (items.length === 0 && complete) console.log('None waiting.');
    // The oldest first: they may be of one key.
    const good = await each(items.map(({ id }) => id).reverse(), true, redrive);
    return good && complete;
  },

  async discard(ids, o) {
    const note = o.note ?? exitWithUsage('discard wants --note TEXT: why', USAGE);
    return each(ids, false, async ({ service, id }) => (await clientOf(service, o)).discard(id, note));
  },

  async edit(ids, o) {
    const [{ service, id }] = read(ids, 1);
    const note = o.note ?? exitWithUsage('edit wants --note TEXT: why', USAGE);
    if ((o.data === undefined) === (o.envelope === undefined))
      exitWithUsage('edit wants --data FILE or --envelope FILE', USAGE);
    const content = json(o.data ?? o.envelope ?? '');
    const client = await clientOf(service, o);
    // Who mends what `show` has printed does not know what that has hidden.
    const before = envelopeOf(await client.show(id));
    const edit =
      o.data === undefined
        ? { note, envelope: unmasked(content, before, PAYMENT_SECRETS) }
        : { note, data: unmasked(content, before?.data, PAYMENT_SECRETS) };
    const { outcome } = await client.edit(id, edit);
    console.log(`${service}/${id}: ${outcome}; redrive it next`);
    return true;
  },
};

/**
 * Decides each of them. With several, one that cannot be decided is told of and the others go on; those of a service that does not
 * answer are left out. Answers whether all went well.
 */
async function each(
  ids: string[],
  mayBeNone: boolean,
  decide: (which: Which) => Promise<{ outcome: string; detail?: string }>,
): Promise<boolean> {
  let good = true;
  const away = new Set<string>();
  for (const which of read(ids, mayBeNone ? 0 : undefined)) {
    const name = `${which.service}/${which.id}`;
    if (away.has(which.service)) {
      console.error(`${name}: left out`);
      continue;
    }
    try {
      const { outcome, detail } = await decide(which);
      const words = outcome.replaceAll('_', ' ');
      console.log(`${name}: ${words}${detail === undefined ? '' : `: ${detail}`}`);
      if (outcome === 'failed') good = false;
    } catch (error) {
      if (!(error instanceof ShopError) || ids.length === 1) throw error;
      console.error(`${name}: ${error.message}\nCure: ${error.cure}`);
      if (error instanceof NoAnswerError) away.add(which.service);
      good = false;
    }
  }
  return good;
}

type Which = { service: string; id: string };
function read(ids: string[], count: 1): [Which];
function read(ids: string[], count?: number): Which[];
function read(ids: string[], count?: number): Which[] {
  if (count === 1 ? ids.length !== 1 : count === undefined && ids.length === 0)
    exitWithUsage(`Expected ${count === 1 ? 'one' : 'at least one'} SERVICE/ID, got ${ids.length}`, USAGE);
  return ids.map((given) => {
    const [, service = '', id = ''] = /^([a-z][a-z0-9-]*)\/(\d+)$/.exec(given) ?? [];
    if (id === '') exitWithUsage(`'${given}' is no SERVICE/ID such as inventory/12`, USAGE);
    return { service, id };
  });
}

function json(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (cause) {
    throw new ShopError(
      `${file} cannot be read as JSON: ${(cause as Error).message}`,
      'give a file with one JSON value',
      {
        cause,
      },
    );
  }
}

function tableOf(items: DeadLetterSummary[]): string {
  const table = new Table({
    head: ['id', 'since', 'topic', 'type', 'key', 'reason', 'detail'],
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    colWidths: [null, null, null, null, null, null, 60],
  });
  for (const item of items)
    table.push([
      item.id,
      item.died_at.slice(0, 19).replace('T', ' '),
      item.topic,
      item.type ?? '?',
      `${item.key ?? '?'}${item.holds_key ? ' (held)' : ''}`,
      item.reason,
      item.detail.length > 180 ? `${item.detail.slice(0, 177)}...` : item.detail,
    ]);
  return table.toString();
}

function print(service: string, { body, encoding, actions, headers, ...item }: DeadLetterView): void {
  for (const [name, value] of Object.entries({ ...item, id: `${service}/${item.id}` }))
    if (value !== null) console.log(`${name.padEnd(12)} ${value}`);
  for (const [name, value] of Object.entries(headers))
    console.log(`${'header'.padEnd(12)} ${name}: ${value}`);
  for (const { at, actor, action, note } of actions) console.log(`${at}  ${actor} ${action}: ${note}`);
  const content = encoding === 'base64' ? `no text, in base64:\n${body}` : maskedText(body, PAYMENT_SECRETS);
  console.log(`\n${content}`);
}

/** The message as it is, if it can be read. */
function envelopeOf({ body }: DeadLetterView): { data?: unknown } | undefined {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

await runCommand(USAGE, OPTIONS, COMMANDS, TAKES);
