import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkMachine, describe as inWords, MachineError, requireMachine, thisMachine } from './machine.ts';
import { PINS, PROGRAMS } from './programs/pins.ts';
import { ensurePrograms } from './programs/programs.ts';
import { addRelease, emptyMachine, fakeProgram, type Pages, servePages } from './programs/test-support.ts';

/** This machine, with all three programs given by environment. */
async function completeMachine() {
  const { folder, env } = await emptyMachine();
  for (const name of PROGRAMS) {
    const { pathEnv, builds } = PINS[name];
    env[pathEnv] = await fakeProgram(join(folder, 'given', name), name, builds);
  }
  return { ...thisMachine('jetstream'), nodeVersion: '24.21.0', env };
}

async function findingsOf(machine: Awaited<ReturnType<typeof completeMachine>>, what: string) {
  const findings = await checkMachine(machine);
  return findings.filter((finding) => finding.what === what);
}

test('nothing is wrong with a machine that has everything', async () => {
  const machine = await completeMachine();
  const findings = await checkMachine(machine);
  expect(findings.filter((finding) => finding.state !== 'ok')).toEqual([]);
  expect(findings.map((finding) => finding.what)).toEqual(
    expect.arrayContaining(['Node', 'npm packages', 'PostgreSQL', 'daprd', 'sentry', 'nats-server']),
  );
  await requireMachine(machine);
});

describe('what prevents a start is named with its cure', () => {
  test('another Node', async () => {
    const [node] = await findingsOf({ ...(await completeMachine()), nodeVersion: '22.20.0' }, 'Node');
    expect(node).toMatchObject({
      state: 'wrong',
      is: expect.stringContaining('22.20.0'),
      cure: expect.stringContaining('npm start'),
    });
  });

  test('no npm packages', async () => {
    const root = await mkdtemp(join(tmpdir(), 'sidecart-machine-'));
    onTestFinished(() => rm(root, { recursive: true }));
    const [packages] = await findingsOf({ ...(await completeMachine()), root }, 'npm packages');
    expect(packages).toEqual({
      what: 'npm packages',
      state: 'wrong',
      is: 'node_modules is missing',
      cure: 'npm ci',
    });
  });

  test('a program of the wrong version, in the words of the start', async () => {
    const machine = await completeMachine();
    await fakeProgram(machine.env.SIDECART_SENTRY ?? '', 'sentry', '1.19.0');
    const err = await ensurePrograms({ env: machine.env, progress: () => {} }).catch((thrown) => thrown);
    expect(await findingsOf(machine, 'sentry')).toEqual([
      { what: 'sentry', state: 'wrong', is: err.message, cure: err.cure },
    ]);
  });

  test('a program that cannot be had, in the words of the start', async () => {
    const machine = await completeMachine();
    delete machine.env.SIDECART_NATS_SERVER;
    await fakeProgram(join(machine.env.PATH ?? '', 'nats-server'), 'natsServer', '2.9.0');
    const err = await ensurePrograms({ env: machine.env, progress: () => {} }).catch((thrown) => thrown);
    const [nats] = await findingsOf(machine, 'nats-server');
    expect(nats).toEqual({ what: 'nats-server', state: 'wrong', is: err.message, cure: err.cure });
    const [go] = await findingsOf(machine, 'Go');
    expect(go).toMatchObject({ state: 'later', cure: 'install Go 1.26.5 or newer (https://go.dev/dl)' });
  });

  test('all of it at once, by the error that a start fails with', async () => {
    const machine = { ...(await completeMachine()), nodeVersion: '22.0.0' };
    machine.env.SIDECART_DAPRD = '/nonexistent';
    const wrong = (await checkMachine(machine)).filter((finding) => finding.state === 'wrong');
    expect(wrong.map((finding) => finding.what)).toEqual(['Node', 'daprd']);
    const err = await requireMachine(machine).catch((thrown) => thrown);
    expect(err).toBeInstanceOf(MachineError);
    for (const finding of wrong) expect(err.message).toContain(inWords(finding));
    expect(err.message).toContain('\n  Cure: Set SIDECART_DAPRD to a daprd');
  });
});

test('on Redis it is redis-server that has to be here, and NATS is nobody’s business', async () => {
  const machine = { ...(await completeMachine()), server: thisMachine('redis').server };
  delete machine.env.SIDECART_NATS_SERVER;
  const [missing] = await findingsOf(machine, 'redis-server');
  expect(missing).toMatchObject({
    state: 'wrong',
    cure: expect.stringContaining('apt-get install redis-server'),
  });
  const path = await fakeProgram(join(machine.env.PATH ?? '', 'redis-server'), 'redisServer', '7.0.15');
  expect(await findingsOf(machine, 'redis-server')).toEqual([
    { what: 'redis-server', state: 'ok', is: `7.0.15, ${path}` },
  ]);
  expect(await findingsOf(machine, 'nats-server')).toEqual([]);
  await requireMachine(machine);
});

test('a broker that local mode does not know is told with those that it does', () => {
  expect(() => thisMachine('kafka')).toThrow('local mode cannot start the broker kafka');
});

describe('what is not here yet prevents nothing', () => {
  test('a program that can be downloaded', async () => {
    const machine = await completeMachine();
    delete machine.env.SIDECART_DAPRD;
    const pages: Pages = new Map();
    const path = await addRelease(pages, 'daprd', '1.18.4');
    await addRelease(pages, 'daprd', '1.18.2');
    const { url, requests } = await servePages(pages);
    machine.env.SIDECART_DAPR_RELEASES = url;
    const [daprd] = await findingsOf(machine, 'daprd');
    expect(daprd).toMatchObject({
      state: 'later',
      is: expect.stringContaining(`downloaded from ${url}${path}`),
    });
    expect(requests).not.toContain(path);
    await requireMachine(machine);
  });
});

test('`npm run doctor` shows every finding, and its exit code says whether a start can work', async () => {
  const { env } = await completeMachine();
  const doctor = (extra: NodeJS.ProcessEnv) =>
    execa(process.execPath, ['--import', 'tsx', 'local/doctor.ts'], {
      env: { ...env, ...extra },
      extendEnv: false,
      reject: false,
    });
  const good = await doctor({});
  expect(good.stdout).toMatch(/^ok +daprd +1\.18\.2/m);
  expect(good.stdout).toContain('Ready for `npm start`.');
  expect(good.exitCode).toBe(0);
  const bad = await doctor({ SIDECART_DAPRD: '/nonexistent' });
  expect(bad.stdout).toMatch(
    /^WRONG +daprd +SIDECART_DAPRD: \/nonexistent is not an executable file\.\n +Cure: Set SIDECART_DAPRD/m,
  );
  expect(bad.exitCode).toBe(1);
});
