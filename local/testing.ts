import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { Command } from './launch.ts';

/** A folder that goes when the test is over. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-local-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A program of a few lines, run by Node. */
export function script(source: string, env: Record<string, string> = {}): Command {
  return { file: process.execPath, args: ['--input-type=module', '-e', source], env, cwd: tmpdir() };
}

/** Runs until it is told to end. */
export const IDLE = 'setInterval(() => {}, 1000);';

/** Repeats `look` until it is true. */
export async function eventually(look: () => boolean, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!look()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${look}`);
    await sleep(20);
  }
}
