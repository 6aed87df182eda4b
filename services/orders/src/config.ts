import { baseConfig } from '@sidecart/kit/config';
import { z } from 'zod';

export const config = baseConfig.extend({
  QUOTE_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(50)
    .max(4000)
    .default(1500)
    .describe('how long to wait for products at most, in milliseconds; above its timeout in topology.yaml'),
  ORDER_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .positive()
    .default(15 * 60_000)
    .describe('how long an order waits for its stock before it is cancelled, in milliseconds'),
});
