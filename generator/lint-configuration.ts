import type { LintContext, Resource } from './lint.ts';

/** Rules for an app's Configuration: what is not allowed is refused. */
export function lintConfiguration({ name, spec }: Resource, { topology }: LintContext): string[] {
  const faults: string[] = [];
  if (!topology.services.some((service) => service.name === name)) {
    return [`there is no app ${name} in topology.yaml. Remove the Configuration.`];
  }
  const access = spec.accessControl ?? {};
  if (access.defaultAction !== 'deny') {
    faults.push(
      'accessControl.defaultAction is not deny: any app of the network could call this one. Write deny.',
    );
  }
  for (const policy of access.policies ?? []) {
    const calls = topology.calls.filter(({ caller, callee }) => caller === policy.appId && callee === name);
    if (calls.length === 0) {
      faults.push(`${policy.appId} does not call ${name} in topology.yaml. Remove its policy.`);
    }
    if (policy.defaultAction !== 'deny') {
      faults.push(
        `the policy of ${policy.appId} does not deny by default: it could call every operation. Write deny.`,
      );
    }
    for (const operation of policy.operations ?? []) faults.push(...operationFaults(policy.appId, operation));
  }

  const protocols = (spec.api?.allowed ?? []).map((rule: { protocol?: string }) => rule.protocol);
  for (const protocol of ['http', 'grpc']) {
    if (protocols.includes(protocol)) continue;
    faults.push(
      `api.allowed has no rule for ${protocol}: Dapr then leaves all of it open. Allow what is used, or one harmless call.`,
    );
  }
  for (const scope of spec.secrets?.scopes ?? []) {
    if (scope.defaultAccess !== 'deny') {
      faults.push(
        `secrets of ${scope.storeName} are not denied by default. Write deny, and list what the app reads.`,
      );
    }
  }
  if (!spec.secrets?.scopes?.length)
    faults.push('secrets.scopes is missing: the app could read every secret. Deny by default.');
  if (spec.tracing && Number(spec.tracing.samplingRate) === 0) {
    faults.push(
      'a samplingRate of 0 also drops the traceparent of each message. Remove tracing, or use a rate above 0.',
    );
  }
  const reload = (spec.features ?? []).find((feature: { name?: string }) => feature.name === 'HotReload');
  if (reload?.enabled !== false)
    faults.push(
      'the feature HotReload is not off: a changed component would be closed in all replicas at once, and a consumer with ' +
        'other settings at the broker not come back. Write { name: HotReload, enabled: false } under features.',
    );
  return faults;
}

/** How Dapr 1.18 matches paths is not what they look like: see the comment in the generated files. */
function operationFaults(caller: string, operation: { name?: string; httpVerb?: string[] }): string[] {
  const segments = String(operation.name ?? '')
    .split('/')
    .slice(1);
  const last = segments.pop();
  const faults: string[] = [];
  if (last !== '*')
    faults.push(`the rule of ${caller} for ${operation.name} opens everything below it. End it in /*.`);
  if (segments.includes('*'))
    faults.push(`the rule of ${caller} for ${operation.name} never matches: write *** in the middle.`);
  if (segments.includes('**') || last === '**')
    faults.push(`the rule of ${caller} for ${operation.name} is open to any depth. Name the operations.`);
  if (!operation.httpVerb?.length || operation.httpVerb.includes('*')) {
    faults.push(`the rule of ${caller} for ${operation.name} is for every verb. List them in httpVerb.`);
  }
  return faults;
}
