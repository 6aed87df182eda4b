import { baseConfig } from '@sidecart/kit/config';

/** Payments needs nothing beyond what every service does; what it has of the provider is in its Secret. */
export const config = baseConfig;
