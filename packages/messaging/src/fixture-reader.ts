import type { Fixture } from './fixture.ts';
import type { ReadLimit } from './slot-read.ts';

/** What a test that reads a queue by itself lets one read take: more than it has, unless it says otherwise. */
export const readLimit: ReadLimit = { rows: 100, bytes: 1_000_000 };

/** For the session of such a reader. */
export const readerOptions = ({ urls }: Fixture, url = urls.url) => ({
  url,
  applicationName: 'reader',
  idleSessionTimeoutMs: 10_000,
  onAnnounced: () => {},
});
