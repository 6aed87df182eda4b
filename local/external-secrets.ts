import { randomBytes } from 'node:crypto';

/**
 * New values for the keys of a Secret for an external API. A `webhook_secret` has the form of the Standard Webhooks spec; the others
 * are words that nobody can guess, good for the simulator. A real provider gives its own.
 */
export function newExternalSecret(keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    keys.map((key) => [
      key,
      key === 'webhook_secret'
        ? `whsec_${randomBytes(32).toString('base64')}`
        : randomBytes(24).toString('hex'),
    ]),
  );
}
