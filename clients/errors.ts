/** Something the person at the keyboard can put right; its message says how. Shown without a stack. */
export class UserError extends Error {
  override name = 'UserError';
}

/** Takes the place of work that a Ctrl-C (SIGINT or SIGTERM) has ended. */
export class InterruptedError extends Error {
  override name = 'InterruptedError';
}
