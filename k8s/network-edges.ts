import { isDeepStrictEqual } from 'node:util';
import type { Manifest } from './manifests.ts';

interface Pod {
  name: string;
  labels: Record<string, string>;
  /** Ports by name. */
  ports: Record<string, number>;
}

interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: unknown[];
}

interface Peer {
  podSelector?: Selector;
  namespaceSelector?: Selector;
  ipBlock?: { cidr: string; except?: string[] };
}

interface Rule {
  from?: Peer[];
  to?: Peer[];
  ports?: { protocol?: string; port?: number | string; endPort?: number }[];
}

/**
 * Who reaches whom under the NetworkPolicies among `manifests`: `orders -> nats:4222` between their own pods, for every
 * port of `ports`, and `orders -> kube-system/k8s-app=kube-dns:53`, `10.0.0.0/8 -> gateway:http` or
 * `payments -> 0.0.0.0/0 but not 10.0.0.0/8:443` with what is outside.
 * Computed as a cluster does it: a pod that no policy selects for a direction is open in that direction.
 */
export function allowedEdges(manifests: Manifest[], ports: number[]): string[] {
  const pods = podsOf(manifests);
  const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
  const between = pods.flatMap((from) =>
    pods
      .filter((to) => to !== from)
      .flatMap((to) =>
        ports
          .filter(
            (port) =>
              opens(rulesFor(policies, from, 'Egress'), 'to', to, to, port) &&
              opens(rulesFor(policies, to, 'Ingress'), 'from', from, to, port),
          )
          .map((port) => `${from.name} -> ${to.name}:${port}`),
      ),
  );
  return [...between, ...pods.flatMap((pod) => outside(policies, pod))].sort();
}

/** With what is not in this namespace. */
function outside(policies: Manifest[], pod: Pod): string[] {
  const egress = rulesFor(policies, pod, 'Egress');
  const ingress = rulesFor(policies, pod, 'Ingress');
  return [
    ...(egress
      ? described(egress, 'to').map((peer) => `${pod.name} -> ${peer}`)
      : [`${pod.name} -> anywhere`]),
    ...(ingress
      ? described(ingress, 'from').map((peer) => {
          const port = peer.lastIndexOf(':');
          return `${peer.slice(0, port)} -> ${pod.name}${peer.slice(port)}`;
        })
      : [`anywhere -> ${pod.name}`]),
  ];
}

function described(rules: Rule[], side: 'from' | 'to'): string[] {
  return rules.flatMap((rule) => {
    if (!rule[side]) return [`anywhere:${portsText(rule)}`];
    return rule[side].flatMap((peer) => {
      if (peer.ipBlock) {
        const { cidr, except = [] } = peer.ipBlock;
        return [`${[cidr, ...except].join(' but not ')}:${portsText(rule)}`];
      }
      if (!peer.namespaceSelector) return [];
      const labels = peer.namespaceSelector.matchLabels ?? {};
      const namespace = labels['kubernetes.io/metadata.name'] ?? JSON.stringify(peer.namespaceSelector);
      const chosen = Object.entries(peer.podSelector?.matchLabels ?? {}).map(
        ([key, value]) => `${key}=${value}`,
      );
      return [`${[namespace, ...chosen].join('/')}:${portsText(rule)}`];
    });
  });
}

function portsText({ ports }: Rule): string {
  return ports ? [...new Set(ports.map(({ port = 'any' }) => port))].join(',') : 'any';
}

/** Nothing when no policy speaks of that direction of the pod. */
function rulesFor(policies: Manifest[], pod: Pod, type: 'Ingress' | 'Egress'): Rule[] | undefined {
  const chosen = policies.filter(
    ({ spec }) => spec.policyTypes.includes(type) && selects(spec.podSelector, pod),
  );
  if (chosen.length === 0) return undefined;
  return chosen.flatMap(({ spec }) => (spec[type.toLowerCase()] ?? []) as Rule[]);
}

function opens(
  rules: Rule[] | undefined,
  side: 'from' | 'to',
  peer: Pod,
  target: Pod,
  port: number,
): boolean {
  if (!rules) return true;
  return rules.some(
    (rule) =>
      (!rule[side] ||
        rule[side].some(
          ({ podSelector, namespaceSelector, ipBlock }) =>
            !ipBlock && !namespaceSelector && podSelector !== undefined && selects(podSelector, peer),
        )) &&
      (!rule.ports || rule.ports.some((open) => matchesPort(open, target, port))),
  );
}

function matchesPort(
  open: { protocol?: string; port?: number | string; endPort?: number },
  target: Pod,
  port: number,
): boolean {
  if ((open.protocol ?? 'TCP') !== 'TCP') return false;
  if (open.port === undefined) return true;
  const first = typeof open.port === 'number' ? open.port : target.ports[open.port];
  return first !== undefined && port >= first && port <= (open.endPort ?? first);
}

function selects(selector: Selector, { labels }: Pod): boolean {
  if (selector.matchExpressions)
    throw new Error(`matchExpressions are not understood here: ${JSON.stringify(selector)}`);
  return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

function podsOf(manifests: Manifest[]): Pod[] {
  const pods = manifests
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ metadata, spec }) => ({
      name: metadata.name,
      labels: spec.template.metadata.labels,
      ports: Object.fromEntries(
        // biome-ignore lint/suspicious/noExplicitAny: of a manifest
        spec.template.spec.containers.flatMap((container: any) =>
          (container.ports ?? []).map((port: { name: string; containerPort: number }) => [
            port.name,
            port.containerPort,
          ]),
        ),
      ),
    }));
  const same = pods.find((a, i) => pods.some((b, j) => i < j && isDeepStrictEqual(a.labels, b.labels)));
  if (same) throw new Error(`another pod has the labels of ${same.name}`);
  return pods;
}
