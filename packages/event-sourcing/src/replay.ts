import { isDeepStrictEqual } from 'node:util';
import { type AnyAggregate, toState } from './aggregate.ts';
import { CondenseRefusedError, UnknownShapeError } from './errors.ts';
import { type EventRow, foldRows } from './load.ts';
import { survivesJson } from './plain.ts';

/** Makes a stream's state twice: by all its events, and by its state at a version, read back, and the events after that. */
export interface Replay {
  /** The next rows of the stream. */
  add(rows: readonly EventRow[]): void;
  /**
   * The state at the version, when both ways lead to the same.
   *
   * @throws CondenseRefusedError `replay_differs`.
   */
  stateToKeep(): unknown;
}

interface At {
  state: unknown;
  version: number;
}

/** @throws CondenseRefusedError `unknown_shape`, from each of its functions, for what this code cannot read. */
export function createReplay(aggregate: AnyAggregate, streamId: string, version: number): Replay {
  let byEvents: At = { state: aggregate.initialState(), version: 0 };
  let cut: { state: unknown; readBack: At | undefined } | undefined;

  const fold = (rows: readonly EventRow[], from: At) => foldRows<unknown>(aggregate, streamId, rows, from);

  /** No row up to the version is missing any more. */
  function cutHere() {
    const { state } = byEvents;
    const readBack = survivesJson(state)
      ? {
          state: toState<unknown>(aggregate, aggregate.state.version, asJson(state)),
          version: byEvents.version,
        }
      : undefined;
    return { state, readBack };
  }

  return {
    add(rows) {
      refusingUnknown(() => {
        const after = rows.findIndex((row) => row.version > version);
        const later = after < 0 ? [] : rows.slice(after);
        byEvents = fold(after < 0 ? rows : rows.slice(0, after), byEvents);
        if (later.length === 0) return;
        cut ??= cutHere();
        byEvents = fold(later, byEvents);
        if (cut.readBack) cut.readBack = fold(later, cut.readBack);
      });
    },
    stateToKeep() {
      const { state, readBack } = cut ?? refusingUnknown(cutHere);
      if (
        readBack &&
        survivesJson(byEvents.state) &&
        isDeepStrictEqual(asJson(byEvents.state), asJson(readBack.state))
      )
        return state;
      throw new CondenseRefusedError(
        'replay_differs',
        `Stream ${streamId} would have another state: what evolve makes of ${aggregate.type} does not survive JSON`,
      );
    },
  };
}

function refusingUnknown<T>(work: () => T): T {
  try {
    return work();
  } catch (err) {
    if (err instanceof UnknownShapeError) throw new CondenseRefusedError('unknown_shape', err.message);
    throw err;
  }
}

/** As it is read back. */
function asJson(state: unknown): unknown {
  return JSON.parse(JSON.stringify(state));
}
