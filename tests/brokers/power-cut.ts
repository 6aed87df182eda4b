import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { skip } from '../cluster/skip.ts';

/** A disk that can be looked at as it would be after a power cut. */
export interface Disk {
  /** Where it is mounted. */
  folder: string;
  /** Writes everything down that is only in memory. */
  sync(): void;
  /**
   * What is on the disk at this moment, as a second one: the file system's journal is played back as after a power cut, and what a program has
   * written and not synced is not there, unless the kernel has written it down by itself. Nobody may write meanwhile.
   */
  afterPowerCut(): string;
}

const MEGABYTES = 48;

/**
 * An ext4 of its own on a loop device. The pages that a program has written and that are not on the disk yet belong to the file system
 * in memory; the file behind the device has only what reached the device, so a copy of it is what a power cut leaves.
 *
 * Ends the test, with the reason, where that is not possible.
 */
export function openDisk(context: TestContext, folder: string): Disk {
  const image = join(folder, 'disk.img');
  let copies = 0;
  const run = (file: string, ...args: string[]) =>
    execFileSync(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const mount = (from: string, name: string) => {
    const at = join(folder, name);
    mkdirSync(at);
    run('mount', '-o', 'loop', from, at);
    onTestFinished(() => void run('umount', at));
    return at;
  };
  try {
    run('truncate', '-s', `${MEGABYTES}M`, image);
    run('mkfs.ext4', '-q', image);
    const disk = mount(image, 'disk');
    return {
      folder: disk,
      sync: () => void run('sync', '-f', disk),
      afterPowerCut() {
        const copy = join(folder, `after-${++copies}`);
        run('cp', image, `${copy}.img`);
        return mount(`${copy}.img`, `after-${copies}`);
      },
    };
  } catch (err) {
    const why = String((err as { stderr?: Buffer }).stderr ?? err).trim();
    return skip(
      context,
      `a disk to cut the power of needs root, a loop device and mkfs.ext4 (Debian: e2fsprogs), and: ${why}`,
    );
  }
}
