import { type ArchiveStore, tableArchive } from '@sidecart/event-sourcing/archive';
import { bindingArchive } from '@sidecart/event-sourcing/binding-archive';
import type { Dapr } from '@sidecart/kit/dapr';

/** Where condensed events go: behind this binding of the sidecar, or, without one, into orders' own database. */
export function archiveOf(binding: string | undefined, dapr: Pick<Dapr, 'invokeBinding'>): ArchiveStore {
  return binding === undefined ? tableArchive : bindingArchive(dapr, binding);
}
