import { type Broker, brokerOutputs } from './broker.ts';
import { configurationOutputs } from './configuration.ts';
import { endpointOutputs } from './endpoints.ts';
import { type Output, yamlFile } from './output.ts';
import { resiliencyOutputs } from './resiliency.ts';
import { subscriptionOutputs } from './subscriptions.ts';
import type { Topology } from './topology.ts';

/** Everything in components/ and dapr/, for sidecars that read the folders and for kustomize. */
export function daprOutputs(topology: Topology, broker: Broker): Output[] {
  const dapr = [
    ...configurationOutputs(topology),
    ...subscriptionOutputs(topology),
    ...resiliencyOutputs(topology, broker),
    ...endpointOutputs(topology),
  ];
  const kustomization = {
    path: 'dapr/kustomization.yaml',
    content: yamlFile('topology.yaml', [
      {
        value: {
          apiVersion: 'kustomize.config.k8s.io/v1beta1',
          kind: 'Kustomization',
          resources: dapr.map(({ path }) => path.replace('dapr/', '')).sort(),
        },
      },
    ]),
  };
  return [...brokerOutputs(topology, broker), ...dapr, kustomization];
}
