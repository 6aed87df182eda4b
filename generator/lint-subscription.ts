import type { LintContext, Resource } from './lint.ts';

/** Rules for a Subscription: it goes where the app listens, and nothing is lost on the way. */
export function lintSubscription({ scopes, spec }: Resource, { topology }: LintContext): string[] {
  const faults: string[] = [];
  const topic = topology.topics.find(({ name }) => name === spec.topic);
  if (!topic)
    return [
      `there is no topic ${spec.topic} in topology.yaml. Correct the name, or remove the subscription.`,
    ];
  if (!topic.components.some(({ name }) => name === spec.pubsubname)) {
    faults.push(
      `${spec.pubsubname} is no component of ${topic.name}. Use ${topic.components.map(({ name }) => name).join(' or ')}.`,
    );
  }
  if (scopes.length !== 1) faults.push('a subscription belongs to exactly one app. Give it one scope.');
  for (const app of scopes.filter((scope) => !topic.consumers.includes(scope))) {
    faults.push(
      `topology.yaml does not let ${app} read ${topic.name}. Take it out of the scopes, or add it to the table.`,
    );
  }
  const route = `/messages/${topic.name}`;
  if (spec.routes?.default === undefined) {
    faults.push(`there is no default route: Dapr drops what matches no rule. Add \`default: ${route}\`.`);
  } else if (spec.routes.default !== route) {
    faults.push(
      `the default route is ${spec.routes.default}, but apps listen on ${route}: Dapr drops what is answered 404.`,
    );
  }
  if (spec.deadLetterTopic !== undefined) {
    faults.push(
      'deadLetterTopic gives good messages up in a long outage, without a reason. Remove it: apps keep dead letters themselves.',
    );
  }
  if (spec.bulkSubscribe?.enabled) {
    faults.push(
      'bulkSubscribe waits for a batch that never fills, as one message is delivered at a time. Remove it.',
    );
  }
  return faults;
}
