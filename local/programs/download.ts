import { chmod } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import semver from 'semver';
import { extract } from 'tar';
import { SourceError } from './errors.ts';
import type { Http } from './http.ts';
import { PINS, type Pin, type ProgramName } from './pins.ts';
import type { Platform } from './platform.ts';
import { oncePerSecond, type Progress } from './progress.ts';
import { askVersion } from './version.ts';

export interface DownloadOptions {
  platform: Platform;
  env: NodeJS.ProcessEnv;
  http: Http;
  /** Empty folder to work in. */
  scratch: string;
  progress: Progress;
}

/** Where the files of one version are. */
interface Addresses {
  version: string;
  archive: string;
  /** Where the executable is in the archive. */
  entry: string;
  checksumFile: string;
}

/** A version that is there, with the content of its checksum file. */
export interface Release extends Addresses {
  checksums: string;
}

/** Where releases are downloaded from, or undefined when that is switched off. */
export function releasesBase(pin: Pin, env: NodeJS.ProcessEnv): string | undefined {
  const base = env[pin.releasesEnv] || pin.releases;
  return base === 'none' ? undefined : base.replace(/\/+$/, '');
}

/**
 * Looks for the release to download.
 * @throws SourceError when there is no connection or no release.
 */
export async function findRelease(
  program: ProgramName,
  o: Pick<DownloadOptions, 'platform' | 'env' | 'http'>,
): Promise<Release> {
  const pin = PINS[program];
  const base = releasesBase(pin, o.env);
  if (base === undefined) throw new SourceError(`switched off by ${pin.releasesEnv}=none`);
  const addressesOf = (version: string) => addresses(program, base, version, o.platform);
  const release = await (pin.downloads === 'newest' ? newest : exact)(pin, addressesOf, o.http);
  if (release === undefined) throw new SourceError(`${base} has no ${pin.binary} ${pin.accepts}`);
  return release;
}

/**
 * Downloads a release, checks it against its published checksum and takes the executable out.
 * @throws SourceError when there is no connection, no release, a wrong checksum or a broken archive.
 */
export async function downloadProgram(
  program: ProgramName,
  o: DownloadOptions,
): Promise<{ executable: string; version: string }> {
  const release = await findRelease(program, o);
  const wanted = checksumOf(basename(release.archive), release.checksums);
  if (wanted === undefined) throw new SourceError(`there is no published checksum of ${release.archive}`);

  const what = `${PINS[program].binary} ${release.version}: downloading`;
  o.progress(`${what} ${release.archive}`);
  const tell = oncePerSecond((line) => o.progress(line, { passing: true }));
  const archive = join(o.scratch, 'archive.tar.gz');
  const checksum = await o.http.file(release.archive, archive, (bytes, total) =>
    tell(`${what}, ${megabytes(bytes)}${total === undefined ? '' : ` of ${megabytes(total)}`} MB`),
  );
  if (checksum !== wanted) {
    throw new SourceError(
      `${release.archive} has the wrong checksum: ${checksum}, published is ${wanted}. Discarded`,
    );
  }

  const executable = await unpack(archive, release, o.scratch);
  const version = await askVersion(program, executable);
  if (version !== release.version) throw new SourceError(`${release.archive} holds version ${version}`);
  return { executable, version };
}

type AddressesOf = (version: string) => Addresses;

function addresses(program: ProgramName, base: string, version: string, { os, arch }: Platform): Addresses {
  const folder = `${base}/v${version}`;
  if (program === 'natsServer') {
    const name = `nats-server-v${version}-${os}-${arch}`;
    const archive = `${folder}/${name}.tar.gz`;
    return { version, archive, entry: `${name}/nats-server`, checksumFile: `${folder}/SHA256SUMS` };
  }
  const archive = `${folder}/${program}_${os}_${arch}.tar.gz`;
  return { version, archive, entry: program, checksumFile: `${archive}.sha256` };
}

async function exact(pin: Pin, addressesOf: AddressesOf, http: Http): Promise<Release | undefined> {
  return await look(addressesOf(pin.builds), http);
}

async function look(addresses: Addresses, http: Http): Promise<Release | undefined> {
  const checksums = await http.text(addresses.checksumFile);
  return checksums === undefined ? undefined : { ...addresses, checksums };
}

/** How many versions are looked for at once; also the length of a gap in the numbers that ends the search. */
const PROBES = 4;

// Asks for the checksum file of one patch version after the other. GitHub's list of releases needs its rate-limited
// API or the parsing of a page made for people; a plain mirror has no list at all. This works on both, and a release
// whose files are not there yet does not count.
async function newest(pin: Pin, addressesOf: AddressesOf, http: Http): Promise<Release | undefined> {
  let found: Release | undefined;
  let next = semver.minVersion(pin.accepts);
  while (next !== null && semver.satisfies(next, pin.accepts)) {
    const versions: string[] = [];
    for (; versions.length < PROBES; next.inc('patch')) versions.push(next.version);
    const releases = await Promise.all(versions.map((version) => look(addressesOf(version), http)));
    const last = releases.findLast((release) => release !== undefined);
    if (last === undefined) break;
    found = last;
    next = semver.parse(semver.inc(last.version, 'patch'));
  }
  return found;
}

// Lines as sha256sum writes them: `<hash>  <file>`, or `<hash> *<file>` in binary mode.
function checksumOf(name: string, checksums: string): string | undefined {
  for (const line of checksums.split('\n')) {
    const [, hash, file] = /^([0-9a-f]{64})(?:\s+\*?(\S+))?\s*$/i.exec(line) ?? [];
    if (hash !== undefined && (file === undefined || basename(file) === name)) return hash.toLowerCase();
  }
  return undefined;
}

async function unpack(archive: string, release: Release, folder: string): Promise<string> {
  try {
    await extract({
      file: archive,
      cwd: folder,
      filter: (path, entry) =>
        posix.normalize(path) === release.entry && 'type' in entry && entry.type === 'File',
    });
  } catch (cause) {
    throw new SourceError(`${release.archive} is a broken archive: ${(cause as Error).message}`, { cause });
  }
  const executable = join(folder, release.entry);
  await chmod(executable, 0o755).catch((cause) => {
    throw new SourceError(`${release.archive} has no ${release.entry} in it`, { cause });
  });
  return executable;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
