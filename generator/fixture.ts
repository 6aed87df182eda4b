import { parseBroker } from './broker.ts';
import { daprOutputs } from './dapr-outputs.ts';
import type { Output } from './output.ts';
import { parseTopology, type Topology } from './topology.ts';

/** For tests: a table small enough to reason about, with each feature once. */
export const TABLE = `
namespace: shop
broker: jetstream
services:
  edge:
    port: 8080
    database: false
    replicas: 1
    edge: true
    invokes:
      books: { timeout: 500ms, operations: [POST /v1/titles] }
  books:
    port: 8101
    database: true
    replicas: 1
    public:
      timeout: 3s
      operations:
        - GET /v1/books
        - POST /v1/books
        - GET /v1/books/{id}
        - POST /v1/books/{id}/lend
        - POST /v1/books/returns
    topic: { lanes: 1 }
    commands: { lanes: 2 }
  readers:
    port: 8102
    database: true
    replicas: 1
    consumes: [books]
    sends: [books]
    invokes:
      books:
        timeout: 1s
        operations: ['GET /v1/books/{id}']
external:
  library:
    used_by: [books]
    timeout: 2s
    retries: 1
    secret: [api_key, webhook_secret]
    webhooks: { operation: POST /v1/books/returns, headers: [webhook-id, webhook-signature] }
    simulator: { port: 8190 }
`;

export const BROKER = `# What a reader should know.

apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {{component}}
spec:
  type: pubsub.jetstream
  version: v1
  metadata:
    - name: natsURL
      secretKeyRef: { name: broker, key: url }
    - { name: durableName, value: "{appID}-{{stream}}" }
    - { name: queueGroupName, value: "{appID}-{{stream}}" }
    - { name: concurrency, value: single }
    - { name: ackWait, value: 20s }
    - { name: maxDeliver, value: "-1" }
    - { name: allowedTopics, value: "{{allowedTopics}}" }
    - { name: protectedTopics, value: "{{allowedTopics}}" }
    - { name: publishingScopes, value: "{{publishingScopes}}" }
    - { name: subscriptionScopes, value: "{{subscriptionScopes}}" }
auth:
  secretStore: kubernetes
scopes: {{scopes}}
---
policies:
  timeouts: { deliver: 3s, publish: 5s }
  retries:
    deliver: { policy: constant, duration: 500ms, maxRetries: 3, matching: { httpStatusCodes: 500-599, gRPCStatusCodes: 1-16 } }
target:
  inbound: { timeout: deliver, retry: deliver }
  outbound: { timeout: publish }
---
name: {{stream}}
subjects: ["{{topic}}"]
`;

export const topology: Topology = parseTopology(TABLE);

/** The Dapr files of {@link TABLE}. */
export function daprFiles(): Output[] {
  return daprOutputs(topology, parseBroker('jetstream', BROKER)).filter(
    ({ path }) => !path.startsWith('components/brokers/'),
  );
}
