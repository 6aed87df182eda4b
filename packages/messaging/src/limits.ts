// Figures that must fit what the broker's template says; generator/lint-broker.ts holds them together.

/**
 * How long a delivery may take before it is answered with "again". Below the sidecar's own patience: a sidecar that
 * gives up first delivers again beside a handler of which this process still believes that somebody waits for it.
 */
export const HANDLER_TIMEOUT_MS = 2500;

/** How long the handler of a message that was set aside may take: nobody waits for it but what is behind it. */
export const RETRY_TIMEOUT_MS = 30_000;

/** How long an inbox row is kept: longer than the streams keep a message that could come again. */
export const INBOX_DAYS = 8;

/**
 * How long a sent message is kept for receivers that never got it. Shorter than their inboxes remember: one that is fetched
 * after its inbox row is gone would be applied twice.
 */
export const SENT_DAYS = 7;

/**
 * The largest message that may be written, in bytes of its row as JSON as the sidecar writes it: sidecar, broker and receiver take up to
 * 4 MiB, and the envelope and what the sidecar adds to it need room as well.
 */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024 - 64 * 1024;

/** A message in whose handling the process died so often is not handled again. */
export const MAX_STARTS = 5;
