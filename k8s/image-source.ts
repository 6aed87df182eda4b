import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { ShopError } from '../local/shop-error.ts';

/** What an image is made of, as its labels say it. */
export interface ImageSource {
  /** Short commit; ends in `-dirty` when files differ from it. */
  tag: string;
  /** Seconds since 1970 of the commit. */
  epoch: number;
  labels: { VERSION: string; REVISION: string; CREATED: string; SOURCE: string };
}

/** Asks git about the checkout. Outside of one the tag must be given, and revision and source stay empty. */
export async function describeSource(root: string, tag?: string): Promise<ImageSource> {
  const git = async (...args: string[]) => {
    const { failed, stdout } = await execa('git', args, { cwd: root, reject: false });
    return failed ? undefined : stdout.trim();
  };
  const { version: VERSION } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const commit = (await git('log', '-1', '--format=%H %h %ct'))?.split(' ');
  if (!commit) {
    if (tag === undefined)
      throw new ShopError('this folder is no git checkout, so the images have no tag', 'say one: --tag TAG');
    return { tag, epoch: 0, labels: { VERSION, REVISION: '', CREATED: rfc3339(0), SOURCE: '' } };
  }
  const [full = '', short = '', seconds = '0'] = commit;
  const dirty = (await git('status', '--porcelain')) === '' ? '' : '-dirty';
  const epoch = Number(seconds);
  return {
    tag: tag ?? `${short}${dirty}`,
    epoch,
    labels: {
      VERSION,
      REVISION: `${full}${dirty}`,
      CREATED: rfc3339(epoch),
      SOURCE: publicUrl((await git('remote', 'get-url', 'origin')) ?? ''),
    },
  };
}

const rfc3339 = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000', '');

/** The remote as anyone may read it: no login, and nothing at all for a folder on somebody's machine. */
export function publicUrl(remote: string): string {
  const ssh = /^(?:ssh:\/\/)?[^@/]+@([^:/]+)(?::\d+\/|[:/])(.+?)(?:\.git)?$/.exec(remote);
  if (ssh) return `https://${ssh[1]}/${ssh[2]}`;
  if (!/^https?:\/\//.test(remote) || !URL.canParse(remote)) return '';
  const url = new URL(remote);
  return `${url.origin}${url.pathname.replace(/\.git$/, '')}`;
}
