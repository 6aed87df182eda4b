import { baseConfig } from '@sidecart/kit/config';

/** Inventory needs nothing beyond what every service does. */
export const config = baseConfig;
