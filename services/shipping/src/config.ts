import { baseConfig } from '@sidecart/kit/config';

/** Shipping needs nothing beyond what every service does. */
export const config = baseConfig;
