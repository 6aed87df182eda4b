import type { Planned } from '../cells/rounds.ts';
import { BATCH, BESIDE, BROKER_ARMS, type BrokerPlace, type CellJob, PRICE, RAW_LIMITS } from './cell.ts';
import type { Job, OpenTransaction } from './run-cell.ts';

export interface Settings {
  rounds: number;
  /** Of each cell. */
  seconds: number;
  /** Messages of the long backlog; the long key has a third of them. */
  backlog: number;
  /** Of the soak, 0 for none. */
  soakMinutes: number;
  /** Every peer once with nothing set. */
  defaults: boolean;
}

/** What a cell may know of the run so far. */
export interface Known {
  place?: BrokerPlace;
  /** Messages a second of an arm in a cell, this round's if there is one. */
  rate(cell: string, arm: string): number | undefined;
}

export interface PlannedCell extends Planned {
  group: Group;
  openTransaction?: OpenTransaction;
  job(arm: string, known: Known): Job;
}

export const GROUPS = ['local', 'limits', 'broker', 'price', 'backlog', 'long key', 'soak'] as const;
export type Group = (typeof GROUPS)[number];

export const OWN = 'sidecart';
export const BEST_PEERS = [
  'graphile-worker, batching',
  'graphile-worker, no batching',
  'pg-boss, notified',
  'pg-boss, polling',
  'pg-transactional-outbox, replication',
  'pg-transactional-outbox, polling',
];
const DEFAULTS = ['graphile-worker, defaults', 'pg-boss, defaults', 'pg-transactional-outbox, defaults'];

const LOCAL = [
  { cell: 'ordered, single', ordered: true, perTransaction: 1 },
  { cell: 'ordered, in batches', ordered: true, perTransaction: BATCH },
  { cell: 'unordered, single', ordered: false, perTransaction: 1 },
  { cell: 'unordered, in batches', ordered: false, perTransaction: BATCH },
] as const;
const ORDERED = LOCAL[0].cell;
export const LOCAL_CELLS = LOCAL.map(({ cell }) => cell);

/** Messages of one commit, for handling from an empty start. */
const BURST = 10_000;
/** Messages a second that a backlog for the sidecar is made long enough for. */
const BROKER_RATE = 2000;

/** Where the cell at half load has its load from, before it was ever measured. */
const FIRST_RATE = 200;

export const BACKLOG = {
  empty: 'from an empty start',
  long: 'from a backlog',
  open: 'from a backlog, a transaction open elsewhere',
};
export const BROKER = { writers: 'writers running', backlog: 'from a filled backlog', half: 'half load' };

export const LONG_KEY_CELL = 'beside a long key';

/** All cells of a run, in their order. */
export function planOf(s: Settings): PlannedCell[] {
  const ms = s.seconds * 1000;
  const local = LOCAL.flatMap(({ cell, ...mode }): PlannedCell[] => {
    const job = (arm: string): Job => ({ kind: 'race', arm, ...mode, ms });
    return [
      { cell, group: 'local', arms: [OWN, ...BEST_PEERS], job },
      ...(s.defaults ? [{ cell, group: 'local' as const, arms: DEFAULTS, once: true, job }] : []),
    ];
  });
  const limits: PlannedCell = {
    cell: 'limits',
    group: 'limits',
    arms: RAW_LIMITS,
    job: (arm) => ({ kind: 'raw', arm, ms }),
  };
  return [
    ...local,
    limits,
    ...brokerCells(s, ms),
    { cell: 'price', group: 'price', arms: PRICE.arms, job: (arm) => ({ kind: 'price', arm, ms }) },
    ...backlogCells(s, ms),
    {
      cell: LONG_KEY_CELL,
      group: 'long key',
      arms: BESIDE,
      job: (arm, known) => ({ kind: 'beside', arm, perSecond: halfOf(ORDERED, known), ms, rows: longKey(s) }),
    },
    ...(s.soakMinutes > 0 ? [soakCell(s)] : []),
  ];
}

/** Half of what this project reached there. */
function halfOf(cell: string, { rate }: Known): number {
  return Math.max(1, Math.round((rate(cell, OWN) ?? 2 * FIRST_RATE) / 2));
}

const longKey = ({ backlog }: Settings) => Math.ceil(backlog / 3);

function brokerCells(s: Settings, ms: number): PlannedCell[] {
  const cell = (
    name: string,
    arms: readonly string[],
    load: Extract<CellJob, { kind: 'broker' }>['load'],
  ): PlannedCell => ({
    cell: name,
    group: 'broker',
    arms,
    job(arm, known) {
      const { place } = known;
      if (!place) throw new Error('the broker is not running');
      const rows = load === 'backlog' ? BROKER_RATE * s.seconds : longKey(s);
      return { kind: 'broker', arm, place, load, ms, perSecond: halfOf(BROKER.writers, known), rows };
    },
  });
  const [own, bare, after, besideLong] = BROKER_ARMS;
  return [
    cell(BROKER.writers, [own, bare, after], 'writers'),
    cell(BROKER.backlog, [own, bare], 'backlog'),
    cell(BROKER.half, [own, bare, besideLong], 'paced'),
  ];
}

function backlogCells(s: Settings, ms: number): PlannedCell[] {
  const long = (cell: string): PlannedCell => ({
    cell,
    group: 'backlog',
    arms: [OWN],
    job: (arm) => ({ kind: 'backlog', arm, rows: s.backlog }),
  });
  return [
    {
      cell: BACKLOG.empty,
      group: 'backlog',
      arms: [OWN],
      job: (arm) => ({ kind: 'bursts', arm, rows: BURST, ms }),
    },
    long(BACKLOG.long),
    { ...long(BACKLOG.open), openTransaction: 'throughout' },
  ];
}

function soakCell(s: Settings): PlannedCell {
  return {
    cell: 'soak',
    group: 'soak',
    arms: [OWN],
    once: true,
    openTransaction: 'in the middle',
    job: (arm, known) => ({
      kind: 'soak',
      arm,
      perSecond: halfOf(ORDERED, known),
      ms: s.soakMinutes * 60_000,
    }),
  };
}
