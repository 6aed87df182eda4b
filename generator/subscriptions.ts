import { type Output, yamlFile } from './output.ts';
import type { Topology } from './topology.ts';

/** dapr/<app>/subscriptions.yaml, for each app that reads a topic: every lane goes to the same route of the app. */
export function subscriptionOutputs(topology: Topology): Output[] {
  return topology.services.flatMap(({ name: app }) => {
    const subscriptions = topology.topics
      .filter((topic) => topic.consumers.includes(app))
      .flatMap((topic) =>
        topic.components.map((component) => ({
          value: {
            apiVersion: 'dapr.io/v2alpha1',
            kind: 'Subscription',
            metadata: { name: `${app}-${component.name}` },
            spec: {
              pubsubname: component.name,
              topic: topic.name,
              routes: { default: `/messages/${topic.name}` },
            },
            scopes: [app],
          },
        })),
      );
    if (subscriptions.length === 0) return [];
    return [{ path: `dapr/${app}/subscriptions.yaml`, content: yamlFile('topology.yaml', subscriptions) }];
  });
}
