/** Somebody else appended to the stream first. Nothing was written; load it again and decide anew. */
export class ConcurrencyError extends Error {
  override name = 'ConcurrencyError';
  readonly code = 'concurrency_conflict';
  readonly streamId: string;
  readonly expectedVersion: number;
  constructor(streamId: string, expectedVersion: number) {
    const message = `Stream ${streamId} is no longer at version ${expectedVersion}`;
    // What PostgreSQL calls it, so that whoever asks whether it passes by itself (isTransientDbError) is told that it does.
    super(message, { cause: Object.assign(new Error(message), { code: '40001' }) });
    this.streamId = streamId;
    this.expectedVersion = expectedVersion;
  }
}

/** An append without events: it would take a version that no event has, and whoever waits for that waits for ever. */
export class EmptyAppendError extends Error {
  override name = 'EmptyAppendError';
  readonly code = 'empty_append';
  constructor(streamId: string) {
    super(`There is nothing to append to ${streamId}: give at least one event, or do not append`);
  }
}

/** What is stored has a shape that this code does not know, so it would be misread. */
export class UnknownShapeError extends Error {
  override name = 'UnknownShapeError';
  readonly code = 'unknown_shape';
  constructor(what: string, version: number, known: number) {
    super(
      version > known
        ? `${what} is stored in version ${version}, and this code knows ${known}: run the code that wrote it, or newer`
        : `${what} is stored in version ${version}, and there is no upcaster from it to ${known}: give it one`,
    );
  }
}

/** Condensing or restoring was refused; nothing was changed. `code` says why, `message` what and what to do. */
export class CondenseRefusedError extends Error {
  override name = 'CondenseRefusedError';
  readonly code: CondenseRefusal;
  constructor(code: CondenseRefusal, message: string) {
    super(message);
    this.code = code;
  }
}

export type CondenseRefusal =
  | 'no_stream'
  | 'nothing_to_condense'
  | 'closed_unknown'
  | 'replay_differs'
  | 'unknown_shape'
  | 'projection_behind'
  | 'foreign_position'
  | 'message_unsent'
  | 'message_kept'
  | 'changed_meanwhile'
  | 'nothing_to_restore'
  | 'projection_building'
  | 'archive_damaged'
  | 'archive_too_large';

/** There is no read model of this name. */
export class UnknownProjectionError extends Error {
  override name = 'UnknownProjectionError';
  readonly code = 'unknown_projection';
  constructor(projection: string, known: readonly string[]) {
    super(`There is no projection ${projection}; there are ${known.join(', ')}`);
  }
}

/** What is read was made by other code, which runs no more: this code leaves it alone, and nobody else keeps it up to date. */
export class NeglectedProjectionError extends Error {
  override name = 'NeglectedProjectionError';
  readonly code = 'neglected_projection';
  constructor(projection: string, codeVersion: number, own: number) {
    const what = `${projection} is of version ${codeVersion} of its code, which does not run any more`;
    super(
      codeVersion < own
        ? `${what}: what is read stands still until version ${own} is built. Cure: wait, npm run events -- status tells how far it is`
        : `${what}. Cure: start that code again, or npm run events -- rebuild ${projection}, which builds it with the code that runs`,
    );
  }
}

/** The archive is away: nothing can be put into it, or what is in it cannot be read just now. */
export class ArchiveUnavailableError extends Error {
  override name = 'ArchiveUnavailableError';
  readonly code = 'archive_unavailable';
  constructor(streamId: string, what: 'put' | 'get', cause: unknown) {
    super(
      what === 'get'
        ? `The archived events of ${streamId} cannot be read: bring the archive back, or restore the stream`
        : `The archive does not take the events of ${streamId}, so they stay where they are: bring it back, and try again`,
      { cause },
    );
  }
}

/**
 * The database was restored from a dump into another server: transaction ids begin anew there, and by the stored ones events
 * would be skipped in silence.
 */
export class ForeignPositionError extends Error {
  override name = 'ForeignPositionError';
  readonly code = 'foreign_position';
  constructor(subscription: string) {
    super(foreignPosition(subscription));
  }
}

export function foreignPosition(subscription: string): string {
  return (
    `The position of ${subscription} is of another database server, so this one was restored from a dump. Cure: ` +
    'npm run events -- adopt, which takes the events as they are here and rebuilds every projection'
  );
}
