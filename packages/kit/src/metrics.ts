import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const NAME = /^(sidecart_|http_)[a-z0-9_]+$/;

/** The process's metrics. Asking again for a name gives the same metric; a name must begin with sidecart_ or http_. */
export interface Metrics {
  registry: Registry;
  counter(name: string, help: string, labels?: string[]): Counter<string>;
  gauge(name: string, help: string, labels?: string[]): Gauge<string>;
  histogram(name: string, help: string, labels?: string[], buckets?: number[]): Histogram<string>;
}

/**
 * @example
 * const placed = metrics.counter('sidecart_orders_placed_total', 'Orders placed', ['status']);
 * placed.inc({ status: 'placed' });
 */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });

  function once<M>(name: string, make: () => M): M {
    if (!NAME.test(name)) throw new Error(`Metric name ${name} must begin with sidecart_ or http_`);
    return (registry.getSingleMetric(name) as M | undefined) ?? make();
  }

  return {
    registry,
    counter: (name, help, labels = []) =>
      once(name, () => new Counter({ name, help, labelNames: labels, registers: [registry] })),
    gauge: (name, help, labels = []) =>
      once(name, () => new Gauge({ name, help, labelNames: labels, registers: [registry] })),
    histogram: (
      name,
      help,
      labels = [],
      buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    ) => once(name, () => new Histogram({ name, help, labelNames: labels, buckets, registers: [registry] })),
  };
}
