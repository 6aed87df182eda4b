import { z } from 'zod';
import { milliseconds } from './duration.ts';
import type { LintContext, Resource } from './lint.ts';
import { SECRET_STORE, type Topology } from './topology.ts';

const names = z.strictObject({
  timeout: z.string().optional(),
  retry: z.string().optional(),
  circuitBreaker: z.string().optional(),
});

const retryShape = z.strictObject({
  policy: z.enum(['constant', 'exponential']).optional(),
  duration: z.string().optional(),
  maxInterval: z.string().optional(),
  maxRetries: z.int().optional(),
  matching: z
    .strictObject({ httpStatusCodes: z.string().optional(), gRPCStatusCodes: z.string().optional() })
    .optional(),
});
type Retry = z.infer<typeof retryShape>;

/** Dapr ignores a field that it does not know: a slip of the pen would be a missing policy. */
const shape = z.strictObject({
  policies: z
    .strictObject({
      timeouts: z.record(z.string(), z.string()).default({}),
      retries: z.record(z.string(), retryShape).default({}),
      circuitBreakers: z.record(z.string(), z.looseObject({})).default({}),
    })
    .default({ timeouts: {}, retries: {}, circuitBreakers: {} }),
  targets: z
    .strictObject({
      apps: z.record(z.string(), names).default({}),
      components: z
        .record(z.string(), z.strictObject({ inbound: names.optional(), outbound: names.optional() }))
        .default({}),
    })
    .default({ apps: {}, components: {} }),
});
type Spec = z.infer<typeof shape>;
type Policies = Spec['policies'];

/** Rules for a Resiliency: everything has a deadline, nothing is repeated that should not be. */
export function lintResiliency(resiliency: Resource, context: LintContext): string[] {
  const parsed = shape.safeParse(resiliency.spec);
  if (!parsed.success) {
    return parsed.error.issues.map(
      (issue) => `spec.${issue.path.join('.')}: ${issue.message}. Dapr would ignore it; correct it.`,
    );
  }
  const { policies, targets } = parsed.data;
  if (resiliency.scopes.length === 0)
    return ['it has no scopes: it would count for every app. Scope it to one.'];
  return [
    ...policyFaults(policies),
    ...referenceFaults(parsed.data),
    ...Object.entries(targets.apps).flatMap(([app, { circuitBreaker }]) =>
      breakerFaults(app, circuitBreaker),
    ),
    ...Object.keys(policies.circuitBreakers)
      .filter((name) => /^Default(App)?CircuitBreakerPolicy$/.test(name))
      .flatMap((name) => breakerFaults('every app', name)),
    ...resiliency.scopes.flatMap((app) => [
      ...callFaults(app, parsed.data, context),
      ...componentFaults(app, parsed.data, context),
    ]),
  ];
}

function policyFaults({ timeouts, retries }: Policies): string[] {
  const faults: string[] = [];
  for (const [name, text] of Object.entries(timeouts)) {
    if (milliseconds(text) === undefined)
      faults.push(`timeout ${name}: ${text} is no duration such as 800ms or 3s.`);
  }
  for (const [name, retry] of Object.entries(retries)) {
    if (retry.maxRetries === undefined || retry.maxRetries < 0) {
      faults.push(`retry ${name} has no maxRetries: Dapr would repeat for ever. Set it.`);
    }
    for (const field of ['duration', 'maxInterval'] as const) {
      const text = retry[field];
      if (text !== undefined && milliseconds(text) === undefined) {
        faults.push(`retry ${name}: ${field} ${text} is no duration such as 800ms or 3s.`);
      }
    }
    if (retry.policy !== 'exponential' && retry.duration === undefined) {
      faults.push(`retry ${name} has no duration: Dapr would wait 5 s each time. Set it.`);
    }
    // Dapr's built-in repeats of calls look at the kind of failure themselves.
    if (name === 'DaprBuiltInServiceRetries') continue;
    for (const field of ['httpStatusCodes', 'gRPCStatusCodes'] as const) {
      if (!retry.matching?.[field]) {
        faults.push(
          `retry ${name} has no matching.${field}: Dapr would repeat after every such code, 400 and 404 too. List the codes.`,
        );
      }
    }
  }
  return faults;
}

function referenceFaults({ policies, targets }: Spec): string[] {
  const uses = [
    ...Object.entries(targets.apps).map(([app, use]) => [`app ${app}`, use] as const),
    ...Object.entries(targets.components).flatMap(([component, { inbound, outbound }]) => [
      [`component ${component} inbound`, inbound ?? {}] as const,
      [`component ${component} outbound`, outbound ?? {}] as const,
    ]),
  ];
  const known = {
    timeout: policies.timeouts,
    retry: policies.retries,
    circuitBreaker: policies.circuitBreakers,
  };
  return uses.flatMap(([target, use]) =>
    (['timeout', 'retry', 'circuitBreaker'] as const).flatMap((kind) => {
      const name = use[kind];
      if (name === undefined || name in known[kind]) return [];
      return [
        `${target} uses the ${kind} ${name}, which is not in policies: Dapr would do without. Correct the name.`,
      ];
    }),
  );
}

function breakerFaults(app: string, breaker: string | undefined): string[] {
  if (breaker === undefined) return [];
  return [
    `${app} has the circuit breaker ${breaker}: Dapr counts a client's 4xx as failures, so that a few bad requests refuse everybody's. Remove it.`,
  ];
}

function callFaults(app: string, { policies, targets }: Spec, { topology }: LintContext): string[] {
  const faults = Object.keys(targets.apps)
    .filter((callee) => !topology.calls.some((call) => call.caller === app && call.callee === callee))
    .filter((callee) => !topology.externals.some(({ name, users }) => name === callee && users.includes(app)))
    .map((callee) => `${app} does not call ${callee} in topology.yaml. Remove the target.`);
  for (const call of topology.calls.filter(({ caller }) => caller === app)) {
    const target = targets.apps[call.callee];
    const name = target ? target.timeout : 'DefaultAppTimeoutPolicy';
    const timeout = milliseconds(policies.timeouts[name ?? ''] ?? '');
    if (timeout === undefined) {
      faults.push(
        `calls from ${app} to ${call.callee} have no timeout. Set ${target ? `targets.apps.${call.callee}.timeout` : name}.`,
      );
    } else if (timeout < call.timeoutMs) {
      faults.push(
        `calls from ${app} to ${call.callee} end after ${timeout} ms, before the ${call.timeoutMs} ms of topology.yaml. Raise ${name}.`,
      );
    }
  }
  return [...faults, ...externalFaults(app, { policies, targets }, topology)];
}

/** Dapr has no default for what is outside. */
function externalFaults(app: string, { policies, targets }: Spec, { externals }: Topology): string[] {
  return externals
    .filter(({ users }) => users.includes(app))
    .flatMap(({ name, timeoutMs, retries }) => {
      const { timeout, retry } = targets.apps[name] ?? {};
      const faults: string[] = [];
      if (milliseconds(policies.timeouts[timeout ?? ''] ?? '') !== timeoutMs)
        faults.push(
          `an attempt at ${name} is not ended after the ${timeoutMs} ms of topology.yaml. Set targets.apps.${name}.timeout.`,
        );
      const repeats = retry === undefined ? 0 : (policies.retries[retry]?.maxRetries ?? -1);
      if (repeats !== retries)
        faults.push(
          `requests of ${app} to ${name} are repeated ${repeats} times, but topology.yaml says ${retries}. Correct targets.apps.${name}.retry.`,
        );
      return faults;
    });
}

function componentFaults(app: string, { policies, targets }: Spec, context: LintContext): string[] {
  const inScope = context.of('Component').filter(({ scopes }) => scopes.includes(app));
  const known = [SECRET_STORE, ...inScope.map(({ name }) => name)];
  const faults = Object.keys(targets.components)
    .filter((name) => !known.includes(name))
    .map((name) => `${app} has no component ${name}. Correct the name, or remove the target.`);
  for (const component of inScope) {
    const { inbound, outbound } = targets.components[component.name] ?? {};
    if (!outbound?.timeout) {
      faults.push(`what ${app} asks of ${component.name} has no timeout. Set its outbound.timeout.`);
    }
    const subscribed = context
      .of('Subscription')
      .some(({ scopes, spec }) => scopes.includes(app) && spec.pubsubname === component.name);
    if (!subscribed) continue;
    if (!inbound?.timeout) {
      faults.push(`deliveries of ${component.name} to ${app} have no timeout. Set its inbound.timeout.`);
      continue;
    }
    faults.push(
      ...deliveryFaults(app, component, policies, { timeout: inbound.timeout, retry: inbound.retry }),
    );
  }
  return faults;
}

/** What a sidecar may do with a message must fit what the broker does with it meanwhile. */
function deliveryFaults(
  app: string,
  component: Resource,
  policies: Policies,
  use: { timeout: string; retry: string | undefined },
): string[] {
  const retry = use.retry === undefined ? undefined : policies.retries[use.retry];
  const patience = (name: string) => milliseconds(String(metadataOf(component, name) ?? ''));
  const delivering = `delivering a message of ${component.name} to ${app}`;
  const ackWait = patience('ackWait');
  if (ackWait !== undefined) {
    // A sidecar that still tries when the broker's patience ends makes the broker deliver the message beside it.
    const total = longest(milliseconds(policies.timeouts[use.timeout] ?? '') ?? 0, retry);
    if (total < ackWait) return [];
    return [
      `${delivering} may take ${total} ms, but the broker waits ${ackWait} ms (ackWait) and then delivers it again beside it. Shorten the timeout or the retries.`,
    ];
  }
  const processingTimeout = patience('processingTimeout');
  if (component.spec.type !== 'pubsub.redis' || processingTimeout === undefined) return [];
  return [
    ...lostByRedis(delivering, processingTimeout, retry),
    ...stuckInRedis(delivering, (name) => metadataOf(component, name), retry),
  ];
}

/** Dapr's Redis component acknowledges a delivery that failed before its processingTimeout: the message is gone. */
function lostByRedis(delivering: string, processingTimeout: number, retry: Retry | undefined): string[] {
  const lost = 'and the Redis component then acknowledges it: the message is lost';
  if (retry?.policy !== 'constant')
    return [
      `${delivering} has no retry at a constant interval: it may fail at once, ${lost}. Give it one that outlasts processingTimeout (${processingTimeout} ms).`,
    ];
  const faults: string[] = [];
  const shortest = (retry.maxRetries ?? 0) * (milliseconds(retry.duration ?? '') ?? 0);
  if (shortest <= processingTimeout)
    faults.push(
      `${delivering} may fail after ${shortest} ms, before processingTimeout (${processingTimeout} ms), ${lost}. Raise the retries, or lower processingTimeout.`,
    );
  // 404 is left: Dapr drops such a message before it looks at any policy.
  const given = codes(retry.matching?.httpStatusCodes ?? '');
  const left = Array.from({ length: 300 }, (_, i) => 300 + i).find((code) => code !== 404 && !given(code));
  if (left !== undefined)
    faults.push(
      `${delivering} is not repeated after an answer of ${left}, ${lost}. Make matching.httpStatusCodes 100-599.`,
    );
  return faults;
}

/**
 * A message that fails keeps a worker for as long as its retries take, and comes again with the next look for open ones.
 * If those of one look need all workers until the next, messages that would not fail get next to no turn.
 */
function stuckInRedis(
  delivering: string,
  value: (name: string) => unknown,
  retry: Retry | undefined,
): string[] {
  const busy =
    Number(value('queueDepth')) * (retry?.maxRetries ?? 0) * (milliseconds(retry?.duration ?? '') ?? 0);
  const there = Number(value('concurrency')) * Number(value('redeliverInterval'));
  if (!(busy >= there)) return [];
  return [
    `${delivering}: messages that fail may take all workers, ${busy} ms of work (queueDepth x retries) in every ${there} ms (concurrency x redeliverInterval). Lower queueDepth or the retries, or raise the others.`,
  ];
}

/** Reads Dapr's list of codes, such as `429,500-599`. */
function codes(text: string): (code: number) => boolean {
  const ranges = text.split(',').map((part) => part.trim().split('-').map(Number));
  return (code) => ranges.some(([first = 0, last = first]) => code >= first && code <= last);
}

/** The longest that all attempts and the pauses between them can take together. */
function longest(timeout: number, retry: Retry | undefined): number {
  const retries = retry?.maxRetries ?? 0;
  const pause =
    retry?.policy === 'exponential'
      ? 1.5 * (milliseconds(retry.maxInterval ?? '') ?? 60_000) // Dapr varies it by half
      : (milliseconds(retry?.duration ?? '') ?? 5_000);
  return (retries + 1) * timeout + retries * pause;
}

function metadataOf(component: Resource, name: string): unknown {
  const entries: { name: string; value?: unknown }[] = component.spec.metadata ?? [];
  return entries.find((entry) => entry.name === name)?.value;
}
