import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { isSameProcess, processIdentity } from './identity.ts';
import type { Command } from './launch.ts';
import { openLedger, readLedger } from './ledger.ts';
import { type ProcessSpec, supervise } from './supervisor.ts';
import { eventually, IDLE, script, testFolder } from './testing.ts';

/** `probeLog`: ready once its log looks like this. */
function setUp(command: Command, { probeLog, ...more }: Partial<ProcessSpec> & { probeLog?: RegExp } = {}) {
  const folder = testFolder();
  const logged = () => readFileSync(join(folder, 'thing.log'), 'utf8');
  const said: string[] = [];
  // Beside the log, whose folder a test may remove.
  const ledgerFile = join(testFolder(), 'ledger.json');
  const process = supervise(
    {
      name: 'thing',
      logFile: join(folder, 'thing.log'),
      command: () => command,
      probe: async () => {
        if (probeLog && !probeLog.test(logged())) throw new Error('not yet');
      },
      rank: 1,
      stopSignal: 'SIGTERM',
      graceMs: 2_000,
      ...more,
    },
    { ledger: openLedger(ledgerFile), say: (text) => said.push(text), backoff: (failures) => failures * 30 },
  );
  onTestFinished(async () => void (await process.end()));
  return { process, said, logged, folder, ledger: () => readLedger(ledgerFile) };
}

test('is in the ledger while it runs, in a process group of its own, and gone from both after its end', async () => {
  const { process, ledger } = setUp(script(IDLE));
  await process.start();
  const { pid } = process;
  expect(ledger()).toMatchObject([{ name: 'thing', pid, identity: processIdentity(pid) }]);
  const group = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[2];
  expect(Number(group)).toBe(pid);
  expect(await process.end()).toBe('stopped');
  expect(processIdentity(pid)).toBeUndefined();
  expect(ledger()).toEqual([]);
  expect(process.state).toBe('stopped');
});

test('a process that dies is started again, with back-off, and it is said', async () => {
  const { process, said } = setUp(script(IDLE));
  await process.start();
  for (const round of [1, 2]) {
    const { pid } = process;
    process.kill('SIGKILL');
    await eventually(() => process.state === 'ready' && process.pid !== pid && process.pid !== 0);
    expect(process.restarts).toBe(round);
  }
  expect(said[0]).toMatch(/^thing died \(SIGKILL\), restart in 0.03 s; its log: .*thing\.log$/);
  expect(said[1]).toBe('thing is ready again');
  expect(said[2]).toMatch(/restart in 0.06 s/);
});

test('a process that ends with a reason is told of with that reason and its cure, the next one that ends without is not', async () => {
  const line = {
    level: 'fatal',
    message: 'start-up failed',
    err: { message: 'its ids would be out of order' },
    cure: 'ALTER SEQUENCE',
  };
  let starts = 0;
  const { process, said } = setUp(script(''), {
    command: () => {
      starts += 1;
      if (starts > 1) return script('process.exit(1)');
      return script(`setTimeout(() => {
        console.log(JSON.stringify({ time: new Date(), ...${JSON.stringify(line)} }));
        process.exit(1);
      }, 300)`);
    },
  });
  await process.start();
  await eventually(() => said.filter((text) => text.includes('died')).length > 1);
  expect(said[0]).toMatch(
    /^thing died \(code 1\), restart .*thing\.log\n {2}its ids would be out of order\. Cure: ALTER SEQUENCE$/,
  );
  expect(said.findLast((text) => text.includes('died'))).toMatch(/thing\.log$/);
});

test('a process whose log is out of reach is tried again, with back-off, until there is a place for it', async () => {
  const { process, said, folder } = setUp(script(IDLE));
  await process.start();
  rmSync(folder, { recursive: true });
  process.kill('SIGKILL');
  await eventually(() => said.length > 1);
  expect(said[1]).toMatch(/^thing cannot be started \(ENOENT.*thing\.log'\), restart in 0.06 s/);
  mkdirSync(folder);
  await eventually(() => process.state === 'ready');
});

test('what is made for each start is made anew for a restart', async () => {
  let starts = 0;
  const { process } = setUp(script(IDLE), {
    command: () => script(`process.title = "${++starts}"; ${IDLE}`),
  });
  await process.start();
  process.kill('SIGKILL');
  await eventually(() => process.restarts === 1 && process.state === 'ready');
  expect(starts).toBe(2);
});

test('a start that fails three times says why, with the end of the log', async () => {
  const { process } = setUp(script('console.error("no such table"); process.exit(3)'), {
    probe: async () => {
      throw new Error('not yet');
    },
  });
  await expect(process.start()).rejects.toThrow(/thing does not start: died \(code 3\)[\s\S]*no such table/);
  expect(process.restarts).toBe(2);
});

test('and with the cure, when its last words name one', async () => {
  const words = `console.log('{"level":"info"}');
    console.log(JSON.stringify({ level: 'fatal', time: new Date(), err: { message: 'rows wait', stack: 'at x' }, cure: 'UPDATE them' }));
    process.exit(1)`;
  const { process } = setUp(script(words), {
    probe: async () => {
      throw new Error('not yet');
    },
  });
  await expect(process.start()).rejects.toMatchObject({
    message: 'thing does not start: rows wait',
    cure: 'UPDATE them',
  });
});

test('a program that is not there is no endless loop', async () => {
  const { process } = setUp({ ...script(''), file: '/nonexistent/program' });
  await expect(process.start()).rejects.toThrow(/cannot be started.*ENOENT/);
});

test('held it stays down, released it comes back', async () => {
  const { process } = setUp(script(IDLE));
  await process.start();
  const { pid } = process;
  await process.hold();
  expect([process.state, process.pid, processIdentity(pid)]).toEqual(['held', 0, undefined]);
  await sleep(150);
  expect(process.pid).toBe(0);
  await process.release();
  expect(process.state).toBe('ready');
  expect(process.restarts).toBe(1);
});

test('one that ignores the request to end is killed after its grace, with what it started; a frozen one too', async () => {
  const stubborn = script(`import { spawn } from 'node:child_process';
    process.on('SIGTERM', () => {});
    console.log(spawn('sleep', ['100']).pid); ${IDLE}`);
  const { process, logged } = setUp(stubborn, { graceMs: 200, probeLog: /\d+\n/ });
  await process.start();
  const child = Number(logged());
  const identity = processIdentity(child) ?? '';
  process.kill('SIGSTOP');
  expect(await process.end()).toBe('killed');
  await eventually(() => !isSameProcess(child, identity));
});
