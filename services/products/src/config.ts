import { baseConfig } from '@sidecart/kit/config';

/** Products needs nothing beyond what every service does. */
export const config = baseConfig;
