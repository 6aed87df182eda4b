import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDapr, type Dapr } from '@sidecart/kit/dapr';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { baseEnv } from '../../../local/launch.ts';
import { ensurePrograms } from '../../../local/programs/programs.ts';
import { testFolder } from '../../../local/testing.ts';
import { killed, sidecarFlags } from '../../../tests/brokers/sidecar-rig.ts';
import { until } from '../../../tests/waiting.ts';
import { pack } from './archive.ts';
import { bindingArchive } from './binding-archive.ts';
import { condenseStream } from './condense.ts';
import { type Fixture, openFixture } from './fixture.ts';
import { readHistory } from './history.ts';
import { restoreStream } from './restore.ts';

// A real sidecar, with the binding that keeps local files.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('binding');
});
afterAll(() => fixture?.close());

async function startSidecar() {
  const { daprd } = await ensurePrograms({ env: process.env, only: ['daprd'], progress: () => {} });
  const folder = testFolder();
  const [resources, files] = [join(folder, 'resources'), join(folder, 'files')];
  mkdirSync(resources);
  writeFileSync(
    join(resources, 'archive.yaml'),
    `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: archive }
spec: { type: bindings.localstorage, version: v1, metadata: [{ name: rootPath, value: ${files} }] }
`,
  );
  const { http, flags } = await sidecarFlags('someone');
  Object.assign(flags, { 'resources-path': resources });
  const log = join(folder, 'daprd.log');
  const out = openSync(log, 'a');
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(daprd.path, args, { env: baseEnv(), stdio: ['ignore', out, out] });
  onTestFinished(() => killed(child));
  await until('the sidecar to be up', async () => {
    if (child.exitCode !== null) throw new Error(readFileSync(log, 'utf8').slice(-2000));
    return (await fetch(`http://127.0.0.1:${http}/v1.0/healthz/outbound`)).status === 204;
  });
  return { dapr: createDapr({ httpPort: http, apiToken: '' }), files, child };
}

const content = async () => (await pack(['{"a":"ä\\u0007"}', '{"b":[1,2,3]}'])).content;

describe('an archive behind a binding', () => {
  it('keeps what a stream had, gives it back to its history, and restores it', async () => {
    const { dapr, files, child } = await startSidecar();
    const archive = bindingArchive(dapr, 'archive');
    const deps = { ...fixture.deps, archive };
    const decision = { by: 'ana', reason: 'it is old' };
    await fixture.fill('acc/1 ä', 500);
    const rows = () =>
      fixture.admin`SELECT (to_jsonb(e) - 'xid')::text AS row FROM events e ORDER BY version`;
    const before = await rows();
    await condenseStream(deps, 'acc/1 ä', decision, 400);
    const [row] = await fixture.admin`SELECT content, location FROM events_archive`;
    expect(row).toMatchObject({ content: null, location: expect.stringMatching(/^acc\/1%20%C3%A4\/1-400-/) });
    expect(readdirSync(join(files, 'acc', '1%20%C3%A4'))).toHaveLength(1);
    expect(await readHistory(deps, 'acc/1 ä')).toHaveLength(500);

    await killed(child);
    await expect(restoreStream(deps, 'acc/1 ä', decision)).rejects.toMatchObject({
      code: 'archive_unavailable',
    });
    await expect(condenseStream(deps, 'acc/1 ä', decision)).rejects.toMatchObject({
      code: 'archive_unavailable',
    });
    const again = { ...deps, archive: bindingArchive((await startSidecarAt(files)).dapr, 'archive') };
    await restoreStream(again, 'acc/1 ä', decision);
    expect(await rows()).toEqual(before);
  });

  it('takes the same again without writing it anew, and mends what is damaged', async () => {
    const { dapr, files } = await startSidecar();
    const archive = bindingArchive(dapr, 'archive');
    const bytes = await content();
    const location = await archive.put('s/1', bytes);
    expect(location).toBe('s/1');
    const file = join(files, 's', '1');
    const written = readFileSync(file, 'utf8');
    expect(await archive.put('s/1', bytes)).toBe('s/1');
    writeFileSync(file, written.slice(0, 20));
    await expect(archive.get('s/1').then((got) => got.equals(bytes))).resolves.toBe(false);
    await archive.put('s/1', bytes);
    expect(readFileSync(file, 'utf8')).toBe(written);
    expect((await archive.get('s/1')).equals(bytes)).toBe(true);
  });

  it('takes the largest that it says it takes, and refuses what is larger before anything is sent', async () => {
    const { dapr } = await startSidecar();
    const archive = bindingArchive(dapr, 'archive');
    const largest = Buffer.concat([(await content()).subarray(0, 2), randomBytes(2 * 1024 * 1024 - 2)]);
    expect((await archive.get((await archive.put('large', largest)) as string)).equals(largest)).toBe(true);
    const larger = Buffer.concat([largest, Buffer.alloc(1)]);
    await expect(archive.put('larger', larger)).rejects.toMatchObject({ code: 'archive_too_large' });
    await fixture.fill('large', 10);
    const tooLarge = { ...archive, put: (name: string) => archive.put(name, larger) };
    const condensing = condenseStream({ ...fixture.deps, archive: tooLarge }, 'large', {
      by: 'a',
      reason: 'b',
    });
    await expect(condensing).rejects.toMatchObject({ code: 'archive_too_large' });
  });

  it('says so when there is no such component, or nothing is there', async () => {
    const { dapr, files } = await startSidecar();
    await expect(bindingArchive(dapr, 'other').put('s/1', await content())).rejects.toMatchObject({
      kind: 'no-component',
    });
    const archive = bindingArchive(dapr, 'archive');
    await expect(archive.get('s/1')).rejects.toMatchObject({ kind: 'unavailable' });
    mkdirSync(files, { recursive: true });
    writeFileSync(join(files, 'x'), 'something else');
    await expect(archive.get('x')).rejects.toThrow('is no archive');
  });
});

/** As they were after a restart, on the files that there are. */
async function startSidecarAt(files: string) {
  const sidecar = await startSidecar();
  cpSync(files, sidecar.files, { recursive: true });
  return sidecar;
}

describe('bindings that take a layer of base64 off, or put one on,', () => {
  /** What some of them do with what they are given, and with what they give. */
  const ways: [string, (data: string) => string, (stored: string) => string][] = [
    ['keep it as it is', (data) => data, (stored) => stored],
    ['decode it before they keep it', decode, (stored) => stored],
    ['encode it when they give it back', (data) => data, encode],
    ['do both', decode, encode],
    ['give it back in quotes', decode, (stored) => JSON.stringify(stored)],
  ];
  it.each(ways)('because they %s, give back the same', async (_name, keep, give) => {
    const bytes = await content();
    const archive = bindingArchive(memory(keep, give), 'archive');
    await archive.put('s/1', bytes);
    expect((await archive.get('s/1')).equals(bytes)).toBe(true);
  });

  it('and one that keeps only a part is found out before it is believed', async () => {
    const archive = bindingArchive(
      memory(
        (data) => data.slice(0, 40),
        (stored) => stored,
      ),
      'archive',
    );
    await expect(archive.put('s/1', await content())).rejects.toThrow('something else');
  });

  it('and one that acknowledges and keeps nothing is found out too', async () => {
    const forgets: Pick<Dapr, 'invokeBinding'> = {
      invokeBinding: async (_component, { operation }) =>
        operation === 'create' ? '' : Promise.reject(new Error('not there')),
    };
    await expect(bindingArchive(forgets, 'archive').put('s/1', await content())).rejects.toThrow('not there');
  });
});

function memory(
  keep: (data: string) => string,
  give: (stored: string) => string,
): Pick<Dapr, 'invokeBinding'> {
  const stored = new Map<string | undefined, string>();
  return {
    async invokeBinding(_component, { operation, data, metadata }) {
      if (operation === 'create') stored.set(metadata?.key, keep(String(data)));
      const found = stored.get(metadata?.key);
      if (found === undefined) throw new Error('not there');
      return give(found);
    },
  };
}

function decode(data: string): string {
  return Buffer.from(data, 'base64').toString('latin1');
}

function encode(data: string): string {
  return Buffer.from(data, 'latin1').toString('base64');
}
