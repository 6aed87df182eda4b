import type { Context } from './kubectl.ts';

/** What a cluster says of itself, as far as the shop needs to know. */
export interface ClusterFacts {
  context: Context;
  /** Of the API server, as in `v1.36.3`. */
  version: string;
  /** Names of the custom resource definitions of Dapr. */
  definitions: string[];
  /** The parts of Dapr's control plane that are there, by name, and whether each is available. */
  controlPlane: Record<string, boolean>;
  defaultStorageClass: boolean;
  /** Where images are pushed to, as the cluster announces it (ConfigMap local-registry-hosting, KEP-1755). */
  registry: string | undefined;
  /** Whether the program `kind` is there, which carries images into its nodes without a registry. */
  kindProgram: boolean;
}

/** One line of the answer; with a cure when something is missing. */
export interface Finding {
  text: string;
  cure?: string;
}

/** Native sidecars and the preStop sleep are on by default from here on. */
const OLDEST_MINOR = 30;

const DEFINITIONS = ['components', 'configurations', 'httpendpoints', 'resiliencies', 'subscriptions'].map(
  (plural) => `${plural}.dapr.io`,
);
const CONTROL_PLANE = ['dapr-operator', 'dapr-sentry', 'dapr-sidecar-injector'];

const INSTALL_DAPR =
  'install Dapr with the values of k8s/dapr/values.yaml (docs/kubernetes.md has the commands), and see `kubectl get pods --namespace dapr-system`';

/** What there is and what is missing for the local overlay to run on this cluster with images built here. */
export function judgeCluster(facts: ClusterFacts): Finding[] {
  return [judgeVersion(facts), judgeDapr(facts), judgeStorage(facts), judgeImages(facts)];
}

function judgeVersion({ version }: ClusterFacts): Finding {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  if (Number(major) === 1 && Number(minor) >= OLDEST_MINOR) return { text: `Kubernetes ${version}` };
  return {
    text: `Kubernetes ${version} is older than 1.${OLDEST_MINOR}`,
    cure: 'make a cluster with a newer one: the pods need native sidecars and the sleep before a stop',
  };
}

function judgeDapr({ definitions, controlPlane }: ClusterFacts): Finding {
  const absent = [
    ...DEFINITIONS.filter((name) => !definitions.includes(name)),
    ...CONTROL_PLANE.filter((name) => !(name in controlPlane)),
  ];
  if (absent.length > 0)
    return { text: `no Dapr, or not all of it: there is no ${absent.join(', no ')}`, cure: INSTALL_DAPR };
  const unready = CONTROL_PLANE.filter((name) => !controlPlane[name]);
  if (unready.length > 0)
    return { text: `Dapr is not ready: ${unready.join(', ')} not available`, cure: INSTALL_DAPR };
  return { text: "Dapr's control plane is ready" };
}

function judgeStorage({ defaultStorageClass }: ClusterFacts): Finding {
  if (defaultStorageClass) return { text: 'a default storage class' };
  return {
    text: 'no default storage class: database and broker would wait for their volumes for ever',
    cure: 'mark one with the annotation storageclass.kubernetes.io/is-default-class=true, or install a provisioner (kind, k3d, minikube and Docker Desktop bring one)',
  };
}

function judgeImages({ context, registry, kindProgram }: ClusterFacts): Finding {
  if (registry) return { text: `images go to the registry ${registry}` };
  if (/^(minikube|docker-desktop)$/.test(context.name))
    return { text: 'images are built inside the cluster' };
  if (context.name.startsWith('kind-') && kindProgram)
    return { text: 'images go in by `kind load`, which is slow: a registry is faster' };
  return {
    text: 'the cluster announces no registry that images could be pushed to (ConfigMap local-registry-hosting in kube-public)',
    cure: 'make the cluster with one: `ctlptl create cluster kind --registry=ctlptl-registry`, or k3d in place of kind',
  };
}
