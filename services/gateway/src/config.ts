import { baseConfig } from '@sidecart/kit/config';
import { z } from 'zod';

export const config = baseConfig.extend({
  NAMES_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(10)
    .max(5000)
    .default(300)
    .describe('how long an order waits for its product names at most, in milliseconds'),
});
