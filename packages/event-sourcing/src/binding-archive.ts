import type { Dapr } from '@sidecart/kit/dapr';
import type { ArchiveStore } from './archive.ts';
import { CondenseRefusedError } from './errors.ts';

/** For an archive of some megabytes and object storage that is far away. */
const DEADLINE_MS = 30_000;
const GZIP = [0x1f, 0x8b];
/** What a sidecar takes, in two layers of base64, of the 4 MiB that it takes at a time. */
const LARGEST = 2 * 1024 * 1024;

/**
 * Keeps archives behind a Dapr output binding with the operations `create` and `get`: local files, S3, Azure or Google storage.
 *
 * What is sent is base64 of base64. Some bindings take one layer off before they store it, some do where they are told to, some never
 * do; and some put one on when they give it back. So what is stored is text in any case, and what comes back is peeled until it is an
 * archive.
 */
export function bindingArchive(dapr: Pick<Dapr, 'invokeBinding'>, component: string): ArchiveStore {
  async function get(location: string): Promise<Buffer> {
    const request = { operation: 'get', metadata: named(location), timeoutMs: DEADLINE_MS };
    return peel(location, await dapr.invokeBinding(component, request));
  }

  return {
    get,
    /** Read back before it says that it is kept: an answer alone is a promise of whoever is behind the binding. */
    async put(name, content) {
      if (content.length > LARGEST)
        throw new CondenseRefusedError(
          'archive_too_large',
          `${name} is of ${content.length} bytes, and a sidecar takes ${LARGEST}: condense it in parts, each up to a version`,
        );
      const location = name.split('/').map(encodeURIComponent).join('/');
      const isKept = (kept: Buffer) => kept.equals(content);
      // What is there and good is not written a second time: a write that is cut short would damage it.
      if (await get(location).then(isKept, () => false)) return location;
      const data = Buffer.from(content.toString('base64')).toString('base64');
      const request = { operation: 'create', data, metadata: named(location), timeoutMs: DEADLINE_MS };
      await dapr.invokeBinding(component, request);
      if (!isKept(await get(location)))
        throw new Error(`${component} gives something else for ${location} than it was given`);
      return location;
    },
  };
}

/** Each binding has its own word for where a thing is, and passes over those of the others. */
function named(location: string): Record<string, string> {
  return { fileName: location, key: location, blobName: location };
}

function peel(location: string, answer: string): Buffer {
  let content = Buffer.from(answer.replace(/^"|"$/g, ''), 'base64');
  for (let layers = 1; layers < 3 && !isArchive(content); layers++)
    content = Buffer.from(content.toString('latin1'), 'base64');
  if (!isArchive(content)) throw new Error(`What is kept as ${location} is no archive`);
  return content;
}

function isArchive(content: Buffer): boolean {
  return GZIP.every((byte, i) => content[i] === byte);
}
