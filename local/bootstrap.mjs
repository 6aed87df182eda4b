// Every npm script starts here: `node local/bootstrap.mjs <script.ts> [args]`. Plain JavaScript without dependencies,
// because right after `git clone` there is nothing but the user's own Node. Installs the npm packages when they are
// missing or no longer those of package-lock.json, then runs the script on Node 24, which is one of the packages.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter, join, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { withLock } from './plain/lock.mjs';
import { missingPackages, packagedNode } from './plain/packages.mjs';

const OLDEST = 20;
const WANTED = 24;
const root = resolve(fileURLToPath(import.meta.url), '../..');

async function main([script, ...args]) {
  if (script === undefined) fail('Usage: node local/bootstrap.mjs <script.ts> [args]');
  const major = Number.parseInt(process.versions.node, 10);
  if (major < OLDEST) {
    fail(
      `Node ${process.versions.node} is too old: Sidecart needs Node ${OLDEST} or newer to start.`,
      `install Node ${WANTED} (https://nodejs.org, or \`nvm install ${WANTED}\`), then run the same command again.`,
    );
  }
  await installPackages();
  if (major === WANTED) return runHere(resolve(root, script), args);

  const node = packagedNode(root);
  if (node === undefined || Number.parseInt(node.version, 10) !== WANTED) {
    fail(
      `Node ${WANTED} is missing from the npm packages: its installation script did not run.`,
      '`npm rebuild node --ignore-scripts=false`, then run the same command again.',
    );
  }
  const result = await run(node.path, [fileURLToPath(import.meta.url), script, ...args]);
  if (result.error)
    fail(`Node ${WANTED} could not be started: ${result.error.message}`, '`npm rebuild node`.');
  await exitLike(result);
}

async function installPackages() {
  if (missingPackages(root) === undefined) return;
  const result = await withLock(join(root, '.cache', 'npm-ci.lock'), npmCi, {
    onWait: () =>
      console.error('Another command in this checkout is installing the npm packages: waiting for it.'),
  });
  if (result.error) {
    fail(
      `npm could not be started: ${result.error.message}`,
      'install npm (it comes with Node: https://nodejs.org), then run the same command again.',
    );
  }
  if (result.signal || result.code === 130) await exitLike(result);
  if (result.code !== 0) {
    fail(
      `npm ci failed with exit code ${result.code}; its own words are above.`,
      'mostly the network or the registry: see `npm ping` and `npm config get registry`; then run the same command again.',
    );
  }
}

async function npmCi() {
  const reason = missingPackages(root); // again: whoever held the lock may have installed them
  if (reason === undefined) return { code: 0 };
  console.error(`Installing the npm packages, as ${reason}: npm ci`);
  const startedAt = Date.now();
  const ticker = setInterval(() => {
    // On a terminal npm shows a spinner of its own.
    if (!process.stderr.isTTY) console.error(`npm ci: ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }, 10_000);
  const env = { ...process.env, PATH: pathOutside(join(root, 'node_modules')) };
  try {
    // Only errors: it would warn of every package that is not for the Node that runs npm, but none of them runs on that.
    const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
    // What npm says is not the script's output.
    return await run('npm', args, { env, cwd: root, stdio: ['inherit', process.stderr.fd, 'inherit'] });
  } finally {
    clearInterval(ticker);
  }
}

// `npm start` puts node_modules/.bin first on PATH, with the Node 24 that `npm ci` is about to delete in it.
function pathOutside(folder) {
  const entries = (process.env.PATH ?? '').split(delimiter);
  return entries.filter((entry) => !resolve(entry).startsWith(folder + sep)).join(delimiter);
}

/**
 * Runs a command on this terminal until it ends. This process must outlive it, so a signal does not end this process
 * but is passed on. One sent to the whole group (Ctrl-C) then reaches the command twice, as it does below npm, which
 * passes it on too: the scripts take signals of one burst as one.
 */
function run(command, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: 'inherit', ...options });
    const pass = (signal) => child.kill(signal);
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, pass);
    const end = (result) => {
      for (const signal of signals) process.off(signal, pass);
      done(result);
    };
    child.once('error', (error) => end({ code: 1, error }));
    child.once('exit', (code, signal) => end({ code, signal }));
  });
}

/** Ends this process the way the command ended. */
async function exitLike({ code, signal }) {
  if (!signal) process.exit(code);
  process.kill(process.pid, signal);
  // Below nohup some signals end nothing: then the code that a shell gives them.
  await sleep(100);
  process.exit(128 + constants.signals[signal]);
}

async function runHere(script, args) {
  const { register } = await import('tsx/esm/api');
  register();
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, script, ...args];
  await import(pathToFileURL(script).href);
}

function fail(message, cure) {
  console.error(cure === undefined ? message : `${message}\nCure: ${cure}`);
  process.exit(1);
}

await main(process.argv.slice(2));
