export type DaprErrorKind =
  /** The broker is well and stored nothing: JetStream has no stream for the topic, or under its name Redis has something else. */
  | 'no-stream'
  /** The sidecar's connection to the broker is gone for good; only a restart of the sidecar helps. */
  | 'connection-closed'
  /** The sidecar runs without this component, as its broker was away when it started; only a restart of the sidecar helps. */
  | 'no-component'
  /** Sidecar, callee or broker cannot be reached; trying again later may work. */
  | 'unavailable'
  | 'timeout'
  /** The sidecar would not take this: its name or body is wrong. Trying again does not help. */
  | 'refused'
  /** Access control, a scope or a token says no, whatever the body. Trying again does not help. */
  | 'denied';

/** The sidecar, or the way behind it, failed. An answer of the called app itself is never a DaprError. */
export class DaprError extends Error {
  readonly kind: DaprErrorKind;
  /** HTTP status of the sidecar's answer, when there was one. */
  readonly status?: number;

  constructor(kind: DaprErrorKind, message: string, o: { status?: number; cause?: unknown } = {}) {
    super(message, o.cause === undefined ? undefined : { cause: o.cause });
    this.name = 'DaprError';
    this.kind = kind;
    if (o.status !== undefined) this.status = o.status;
  }
}
