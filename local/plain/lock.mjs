import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, rmdir, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// Plain JavaScript without dependencies: bootstrap.mjs needs it before there are any packages.

/**
 * Runs `work` while holding a lock that other processes see: the existence of `folder` with one file in it, the
 * holder's token. Both steps that matter are one rename each, so two processes cannot both win: a prepared folder
 * moves into place only where there is none with a token in it, and a lock whose holder died is taken over by
 * renaming exactly that holder's token.
 *
 * A holder counts as dead when its process is gone, or when its token was not touched for ten seconds (the process
 * number may be another's by now). A holder that was frozen for longer goes on without the lock: what it does must
 * end in an atomic step, as the lock only saves double work.
 */
export async function withLock(folder, work, o = {}) {
  const { onWait, signal, pollMs = 250, staleAfterPolls = 40 } = o;
  const token = `${process.pid}-${randomBytes(6).toString('hex')}@${hostname()}`;
  await mkdir(dirname(folder), { recursive: true });

  let seen;
  let unchanged = 0;
  let told = false;
  while (!(await create(folder, token))) {
    const holder = await look(folder);
    unchanged =
      holder !== undefined && holder.token === seen?.token && holder.touched === seen.touched
        ? unchanged + 1
        : 0;
    seen = holder;
    if (holder && (unchanged >= staleAfterPolls || isGone(holder.token))) {
      if (await takeOver(folder, holder.token, token)) break;
      continue;
    }
    if (!told) onWait?.();
    told = true;
    await sleep(pollMs, undefined, { signal });
  }

  const path = join(folder, token);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => clearInterval(heartbeat)); // taken over: not ours any more
  }, 1000);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await unlink(path).catch(unless('ENOENT')); // taken over
    await rmdir(folder).catch(unless('ENOENT', 'ENOTEMPTY', 'EEXIST')); // the next holder is already in
  }
}

async function create(folder, token) {
  const prepared = `${folder}.${token}`;
  await mkdir(prepared);
  await writeFile(join(prepared, token), '');
  try {
    await rename(prepared, folder);
    return true;
  } catch (err) {
    if (err.code !== 'ENOTEMPTY' && err.code !== 'EEXIST') throw err;
    return false;
  } finally {
    await rm(prepared, { recursive: true, force: true });
  }
}

async function look(folder) {
  try {
    const [token] = await readdir(folder);
    if (token === undefined) return undefined;
    return { token, touched: (await stat(join(folder, token))).mtimeMs };
  } catch (err) {
    if (err.code === 'ENOENT') return undefined;
    throw err;
  }
}

function isGone(token) {
  const [pid, host] = [Number.parseInt(token, 10), token.slice(token.indexOf('@') + 1)];
  if (host !== hostname() || !(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (err) {
    return err.code === 'ESRCH';
  }
}

async function takeOver(folder, dead, token) {
  try {
    await rename(join(folder, dead), join(folder, token));
    return true;
  } catch (err) {
    if (err.code === 'ENOENT') return false; // somebody else was first
    throw err;
  }
}

function unless(...codes) {
  return (err) => {
    if (!codes.includes(err.code)) throw err;
  };
}
