import { z } from 'zod';

const ProviderSecret = z.object({
  api_key: z.string().regex(/^[\x21-\x7e]{16,}$/, 'is to be at least 16 visible ASCII characters'),
  webhook_secret: z
    .string()
    .regex(
      /^whsec_[A-Za-z0-9+/]{24,}={0,2}$/,
      'is to be whsec_ and base64, after the Standard Webhooks spec',
    ),
});

/**
 * What shop and provider know of each other.
 * @throws Error naming the keys that are missing or of no use, never a value.
 */
export function readProviderSecret(
  name: string,
  values: Record<string, string>,
): { apiKey: string; webhookSecret: string } {
  const parsed = ProviderSecret.safeParse(values);
  if (parsed.success) return { apiKey: parsed.data.api_key, webhookSecret: parsed.data.webhook_secret };
  const faults = parsed.error.issues.map(({ path, message, code }) =>
    code === 'invalid_type' ? `has no key ${path.join('.')}` : `key ${path.join('.')} ${message}`,
  );
  throw new Error(`Secret ${name} ${faults.join('; ')}`);
}
