import { setTimeout as sleep } from 'node:timers/promises';
import { startProgress } from '../clients/progress.ts';
import { ShopError } from '../local/shop-error.ts';
import type { EventsClient } from './events-client.ts';

const LOOK_EVERY_MS = 500;
/** So long without one more event, and it is said why, if the service says so. */
const TROUBLED_MS = 10_000;
/** And so long if it says nothing. */
const STALLED_MS = 120_000;

/**
 * Shows how a rebuild goes until its rows are read. It needs nobody who watches, and goes on without.
 *
 * @throws ShopError when it does not go on.
 */
export async function watchRebuild(
  { service, client }: { service: string; client: Pick<EventsClient, 'status' | 'trouble'> },
  name: string,
  o = { lookEveryMs: LOOK_EVERY_MS, troubledMs: TROUBLED_MS, stalledMs: STALLED_MS },
): Promise<string> {
  let bar: ReturnType<typeof startProgress> | undefined;
  let begun = false;
  let shown = 0;
  let since = performance.now();
  try {
    for (; ; await sleep(o.lookEveryMs)) {
      const items = ((await client.status())?.items ?? []).filter((item) => item.name === name);
      const building = items.find(({ state }) => state === 'building');
      // One of code 0 is what an adopted database had: read until it is built anew.
      const live = items.find(({ state, code_version }) => state === 'live' && code_version > 0);
      if (!building && live) {
        bar?.advance(Math.max(0, live.to_build - shown));
        return `${service}/${name}: generation ${live.generation} is read from now on`;
      }
      if (!building && begun)
        throw new ShopError(
          `${service}/${name} is not being built any more`,
          'see `npm run events -- status`: was the database adopted meanwhile?',
        );
      if (building) {
        begun = true;
        bar ??= startProgress(name, building.to_build);
        // What is appended meanwhile is built too, and is not part of what there was to do.
        const built = Math.min(building.built, building.to_build);
        if (built > shown) {
          bar.advance(built - shown);
          shown = built;
          since = performance.now();
        }
      }
      await refuseStandstill(client, performance.now() - since, o);
    }
  } finally {
    bar?.stop();
  }
}

async function refuseStandstill(
  client: Pick<EventsClient, 'trouble'>,
  forMs: number,
  o: { troubledMs: number; stalledMs: number },
): Promise<void> {
  if (forMs < o.troubledMs) return;
  const reason = await client.trouble();
  if (reason !== undefined)
    throw new ShopError(reason, 'mend what it names; the build then goes on by itself');
  if (forMs > o.stalledMs)
    throw new ShopError(
      'nothing more has been built for a while',
      'look at the log of the service; the build goes on by itself when it can',
    );
}
