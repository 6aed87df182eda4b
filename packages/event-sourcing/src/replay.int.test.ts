import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { seed, times } from '../../../tests/seed.ts';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import { condenseStream } from './condense.ts';
import { fold } from './decider.ts';
import {
  type AccountCommand,
  type AccountEvent,
  type AccountState,
  account,
  type Fixture,
  openFixture,
} from './fixture.ts';
import { readHistory, stateAt } from './history.ts';
import { loadStream } from './load.ts';
import { restoreStream } from './restore.ts';
import { writeSnapshot } from './snapshots.ts';

// Whatever was commanded, and whatever was done to the stream since: its state is what its events make of it. SEED=… repeats a run,
// ROUNDS=… sets how many histories there are.

const rounds = times('ROUNDS', 25);

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('replay');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

type Step =
  | { do: 'command'; command: AccountCommand }
  | { do: 'snapshot' }
  | { do: 'condense'; upTo: number }
  | { do: 'restore' };

const amount = fc.integer({ min: -5, max: 1000 });
const command: fc.Arbitrary<AccountCommand> = fc.oneof(
  fc.record({ type: fc.constant('Open' as const), owner: fc.string({ unit: 'grapheme', maxLength: 5 }) }),
  fc.record({ type: fc.constant('Deposit' as const), pence: amount, times: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ type: fc.constant('Withdraw' as const), pence: amount }),
  fc.record({ type: fc.constant('Close' as const) }),
);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: command.map((one): Step => ({ do: 'command', command: one })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'snapshot' }) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 60 }).map((upTo): Step => ({ do: 'condense', upTo })) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: 'restore' }) },
  ),
  { minLength: 5, maxLength: 60, size: 'max' },
);

const decision = { by: 'test', reason: 'to see' };
let streams = 0;

/** Refusals are for their own tests; here they leave a state that has to be right too. */
const orRefused = (work: Promise<unknown>) =>
  work.catch((err: { name: string }) => {
    if (err.name !== 'CondenseRefusedError') throw err;
  });

async function run(all: Step[], aggregate: AnyAggregate = account): Promise<void> {
  const id = `s${++streams}`;
  const deps = { ...fixture.deps, aggregate };
  const happened: AccountEvent[] = [];
  const rows = async () => [
    ...(await fixture.admin`SELECT (to_jsonb(e) - 'xid')::text AS row FROM events e WHERE stream_id = ${id}
      AND type <> ${CONDENSED} ORDER BY version`),
  ];
  const truth = () => fold(account, account.initialState(), happened);
  const check = async () => {
    const { state, version } = await loadStream<AccountState>(fixture.database.db, aggregate, id);
    expect({ state, version }).toEqual({ state: truth(), version: happened.length });
  };

  for (const step of all) {
    if (step.do === 'command') {
      const done = await fixture.database.db
        .transaction((tx) => fixture.store.handle(tx, id, step.command))
        .catch((err: Error) => {
          if (err.message !== 'Not enough') throw err;
        });
      happened.push(...(done?.events ?? []));
    } else if (step.do === 'snapshot') await writeSnapshot({ ...deps, every: 1 }, id);
    else if (step.do === 'condense')
      await orRefused(condenseStream(deps, id, decision, Math.min(step.upTo, happened.length)));
    else await orRefused(restoreStream(deps, id, decision));
    await check();
  }

  const history = await readHistory<AccountEvent>(deps, id);
  expect(history.map(({ event }) => event)).toEqual(happened);
  const last = history.at(-1);
  if (last) expect(await stateAt(deps, id, last.at)).toEqual({ state: truth(), version: happened.length });
  // From any place of the archives, without a snapshot, down to the first event again, and by the bytes.
  await fixture.admin`DELETE FROM snapshots`;
  while ((await fixture.rows(id)).some(({ type }) => type === CONDENSED)) {
    await restoreStream(deps, id, decision);
    await check();
  }
  const whole = await rows();
  expect(whole).toHaveLength(happened.length);
  if (happened.length < 2) return;
  await condenseStream(deps, id, decision);
  await check();
  await restoreStream(deps, id, decision);
  expect(await rows()).toEqual(whole);
}

test('any commands, snapshots, condensings and restorings: the state is what the events make, and no event is lost', async () => {
  console.log(`SEED=${seed}`);
  await fc.assert(
    fc.asyncProperty(steps, (all) => run(all)),
    { seed, numRuns: rounds, endOnFailure: true },
  );
});

const commands: Step[] = [
  { do: 'command', command: { type: 'Open', owner: 'Ada' } },
  { do: 'command', command: { type: 'Deposit', pence: 5, times: 4 } },
];

test('control: when evolve reads what a snapshot or a condensed event forgets, it is noticed', async () => {
  // The order of events is forgotten by who adds it up in a place that is not part of the state.
  let deposits = 0;
  const forgetful: AnyAggregate = {
    ...account,
    initialState() {
      deposits = 0;
      return account.initialState();
    },
    evolve(state, event) {
      if (event.type === 'Deposited') deposits++;
      return { ...account.evolve(state, event), owner: `${deposits}` };
    },
  };
  await expect(run([...commands, { do: 'snapshot' }, ...commands.slice(1)], forgetful)).rejects.toThrow();
});

test('control: an event that is gone is noticed', async () => {
  await fixture.admin`CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`;
  await fixture.admin`CREATE TRIGGER lose BEFORE INSERT ON events FOR EACH ROW
    WHEN (NEW.version = 4) EXECUTE FUNCTION lose()`;
  try {
    await expect(run(commands)).rejects.toThrow('has no event 4 before 5');
  } finally {
    await fixture.admin`DROP TRIGGER lose ON events`;
  }
});
