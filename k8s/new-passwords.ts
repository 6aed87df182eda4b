/** Of `kubectl get deployments`: the names of the pods' init containers, by name of the Deployment. */
export type InitContainers = Record<string, string[]>;

/** Reads the answer of `kubectl get deployments --output=json`. */
export function readInitContainers(json: string): InitContainers {
  type Deployment = {
    metadata: { name: string };
    spec: { template: { spec: { initContainers?: { name: string }[] } } };
  };
  const { items } = JSON.parse(json) as { items: Deployment[] };
  return Object.fromEntries(
    items.map(({ metadata, spec }) => [
      metadata.name,
      (spec.template.spec.initContainers ?? []).map(({ name }) => name),
    ]),
  );
}

/**
 * What is still to be done where the shop runs already and a database's Secret was made, or made anew: the database knows the
 * password of before, and a service that starts is refused by it. Lines for a person; none when nothing is to be done.
 * @param o.made names of the Secrets
 * @param o.kubectl how it is called for the namespace
 */
export function passwordSteps(o: { made: string[]; deployments: InitContainers; kubectl: string }): string[] {
  const services = [...new Set(o.made.flatMap((name) => /^(.+)-db(-owner)?$/.exec(name)?.[1] ?? []))].filter(
    (name) => name in o.deployments,
  );
  if (services.length === 0) return [];
  const names = (all: string[]) => all.map((name) => `deployment/${name}`).join(' ');
  return [
    `The database does not know the new passwords of ${services.join(', ')} yet. To tell it, and have the pods read them:`,
    ...(o.deployments.platform?.includes('databases')
      ? [
          `  ${o.kubectl} rollout restart ${names(['platform'])}`,
          `  ${o.kubectl} rollout status ${names(['platform'])}`,
        ]
      : [
          '  npm run --silent k8s -- databases, its output to psql as a superuser (docs/kubernetes.md, "Own backing services")',
        ]),
    `  ${o.kubectl} rollout restart ${names(services)}`,
  ];
}
