// Figures that must fit what the broker's template says; generator/lint-broker.ts holds them together.

/**
 * How long a delivery may take before it is answered with "again". Below the sidecar's own patience: a sidecar that
 * gives up first delivers again beside a handler of which this process still believes that somebody waits for it.
 */
export const HANDLER_TIMEOUT_MS = 2500;

/** How long an inbox row is kept: longer than the streams keep a message that could come again. */
export const INBOX_DAYS = 8;
