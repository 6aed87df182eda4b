import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect } from 'vitest';
import { type Fixture, openFixture } from './fixture.ts';
import { type FixtureBroker, openBroker } from './fixture-broker.ts';
import type { PipelineOptions } from './fixture-pipeline.ts';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

/** Two databases, a broker, and processes that do everything between them (fixture-pipeline.ts). */
export interface Pipeline {
  sender: Fixture;
  receiver: Fixture;
  /** Runs one process to its end; `died` when it killed itself. Without `die` it ends only when everything is applied. */
  run(o: Partial<PipelineOptions>, env?: Record<string, string>): Promise<'died' | 'ended'>;
  /** Everything committed is applied, once, in order per key; throws when not. Returns how many there are. */
  check(): Promise<number>;
  /** How many of those that were committed were never applied. */
  missing(): Promise<number>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

export async function openPipeline(o: { env: NodeJS.ProcessEnv; serverUrl?: string }): Promise<Pipeline> {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-pipeline-'));
  const program = join(folder, 'fixture-pipeline.mjs');
  const source = fileURLToPath(new URL('fixture-pipeline.ts', import.meta.url));
  const [sender, receiver, broker] = (await Promise.all([
    openFixture('pipeline_sender', o.serverUrl),
    openFixture('pipeline_receiver', o.serverUrl),
    openBroker(o.env, ['orders']),
    // One file starts in a fifth of the time.
    execa(
      process.execPath,
      [
        '--import',
        'tsx',
        join(CHECKOUT, 'local/bundle-program.ts'),
        '--out',
        folder,
        `fixture-pipeline=${source}`,
      ],
      {
        cwd: CHECKOUT,
      },
    ),
  ])) as unknown as [Fixture, Fixture, FixtureBroker];
  await sender.admin.unsafe(
    'CREATE TABLE written (n int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp()); GRANT ALL ON written TO PUBLIC',
  );
  await receiver.admin.unsafe(
    'CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, key text, n int, at timestamptz DEFAULT clock_timestamp()); GRANT ALL ON applied TO PUBLIC',
  );
  const numbers = async (of: Fixture, table: string) =>
    (await of.admin.unsafe<{ n: number }[]>(`SELECT n FROM ${table} ORDER BY n`)).map(({ n }) => n);

  return {
    sender,
    receiver,
    async run(options, env = {}) {
      const all: PipelineOptions = {
        senderUrl: sender.urls.url,
        receiverUrl: receiver.urls.url,
        brokerUrl: broker.url,
        writes: 0,
        ...options,
      };
      const { exitCode, signal, stderr } = await execa(process.execPath, [program, JSON.stringify(all)], {
        reject: false,
        env,
        timeout: 60_000,
      });
      if (exitCode === 0) return 'ended';
      expect({ signal, stderr, die: options.die }).toMatchObject({
        signal: 'SIGKILL',
        die: expect.anything(),
      });
      return 'died';
    },
    async check() {
      const written = await numbers(sender, 'written');
      expect(await numbers(receiver, 'applied')).toEqual(written);
      const sent = await sender.admin<{ key: string; ns: string }[]>`
        SELECT msg_key AS key, string_agg(payload->>'n', ' ' ORDER BY key_seq) AS ns FROM sent GROUP BY 1 ORDER BY 1`;
      const applied = await receiver.admin<{ key: string; ns: string }[]>`
        SELECT key, string_agg(n::text, ' ' ORDER BY id) AS ns FROM applied GROUP BY 1 ORDER BY 1`;
      expect([...applied]).toEqual([...sent]);
      expect(await receiver.admin`SELECT reason, detail FROM dead_letter WHERE state = 'waiting'`).toEqual(
        [],
      );
      expect(await receiver.admin`SELECT event_id, why FROM inbox_failing`).toEqual([]);
      return written.length;
    },
    async missing() {
      const applied = new Set(await numbers(receiver, 'applied'));
      return (await numbers(sender, 'written')).filter((n) => !applied.has(n)).length;
    },
    async clear() {
      await sender.clear();
      await receiver.clear();
      await sender.admin`TRUNCATE written`;
      await receiver.admin`TRUNCATE applied`;
      await broker.purge('orders');
    },
    async close() {
      await broker.close();
      await Promise.all([sender.close(), receiver.close(), rm(folder, { recursive: true, force: true })]);
    },
  };
}
