import type { LintContext, Resource } from './lint.ts';

/** Rules for an HTTPEndpoint: who loads it, and what it gives away. */
export function lintEndpoint({ name, spec, scopes }: Resource, { topology }: LintContext): string[] {
  const external = topology.externals.find((row) => row.name === name);
  if (!external)
    return [`there is no external API ${name} in topology.yaml. Add its row, or remove the HTTPEndpoint.`];
  const faults: string[] = [];
  const users = new Set(external.users);
  if (scopes.length !== users.size || !scopes.every((app) => users.has(app))) {
    faults.push(
      `its scopes are [${scopes.join(', ')}], but topology.yaml lets ${external.users.join(', ')} call it. Write those: without any, every app could.`,
    );
  }
  if (!URL.canParse(String(spec.baseUrl)) || !/^https?:/.test(spec.baseUrl)) {
    faults.push(`baseUrl ${spec.baseUrl} is no address such as https://api.example.com. Correct it.`);
  }
  for (const header of spec.headers ?? []) {
    faults.push(
      header.secretKeyRef
        ? `header ${header.name} has a secret, which Dapr's operator would hand to every sidecar of the namespace. Let the app send it.`
        : `header ${header.name} is set here, where it would be sent in place of what the app says. Let the app send it.`,
    );
  }
  return faults;
}

/** Without its HTTPEndpoint an external API is looked for among the apps, and not found. */
export function missingEndpoints({ topology, of }: LintContext): string[] {
  return topology.externals
    .filter(({ name }) => !of('HTTPEndpoint').some((resource) => resource.name === name))
    .map(({ name }) => `dapr/external: there is no HTTPEndpoint ${name}. Run npm run generate.`);
}
