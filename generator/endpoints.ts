import { type Output, yamlFile } from './output.ts';
import type { External, Topology } from './topology.ts';

/**
 * dapr/external/<name>.yaml: the HTTP APIs of others. Not in the folders of the apps, which sidecars of local mode read as they are:
 * an address is the one thing that Dapr takes from no secret and no environment, so local mode writes a copy with its own port, and
 * an overlay of Kubernetes patches this one.
 */
export function endpointOutputs(topology: Topology): Output[] {
  return topology.externals.map((external) => ({
    path: `dapr/external/${external.name}.yaml`,
    content: yamlFile('topology.yaml', [{ comment, value: httpEndpoint(external) }]),
  }));
}

const comment = `
No headers: Dapr's operator gives every sidecar of the namespace the endpoints of all, with the secrets in their headers.
The app that calls reads its own Secret and says who it is by itself.
`;

/** What a sidecar calls by its name as if it were an app. */
export function httpEndpoint({ name, users, baseUrl }: Pick<External, 'name' | 'users' | 'baseUrl'>) {
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name },
    spec: { baseUrl },
    scopes: users,
  };
}
