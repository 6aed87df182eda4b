import { z } from 'zod';
import type { Outcome } from './evaluate.ts';

const texts = z.array(z.string()).default([]);

const Step = z.discriminatedUnion('made', [
  z.object({ made: z.literal('sync'), local_path: z.string(), remote_path: z.string() }),
  z.object({ made: z.literal('fall_back_on'), paths: z.array(z.string()) }),
]);

const Image = z.object({
  ref: z.string(),
  context: z.string(),
  target: z.string().optional(),
  build_args: z.record(z.string(), z.string()),
  network: z.string().optional(),
  only: texts,
  live_update: z.array(Step).default([]),
});
export type Image = z.infer<typeof Image>;

const Forward = z.object({
  local_port: z.number(),
  container_port: z.number(),
  link_path: z.string().optional(),
});
const links = z.array(z.object({ url: z.string() })).default([]);

const KubernetesResource = z.object({
  workload: z.string().optional(),
  new_name: z.string().optional(),
  objects: texts,
  resource_deps: texts,
  labels: texts,
  port_forwards: z.array(Forward).default([]),
  links,
});

const LocalResource = z.object({
  name: z.string(),
  cmd: z.array(z.string()).optional(),
  serve_cmd: z.array(z.string()).optional(),
  serve_env: z.record(z.string(), z.string()).default({}),
  deps: texts,
  links,
  resource_deps: texts,
  labels: texts,
  readiness_probe: z.object({ http_get: z.object({ port: z.number(), path: z.string() }) }).optional(),
});

/** One line of Tilt's page. */
export interface Resource {
  name: string;
  /** `workload` and `objects` are of Kubernetes, `local` is a program of this machine. */
  kind: 'workload' | 'objects' | 'local';
  objects: string[];
  deps: string[];
  labels: string[];
  /** Port of this machine to port of the pod. */
  ports: [number, number][];
  /** What its line leads to. */
  links: string[];
  /** The command, of a local one. */
  command: string[];
  /** What a local one that runs all the time is given, and what says that it is ready. */
  env: Record<string, string>;
  probe: { port: number; path: string } | undefined;
  /** What starts a local one anew when it changes. */
  watched: string[];
}

/** What a Tiltfile defined, as Tilt puts it together from the calls. */
export interface Definition {
  resources: Map<string, Resource>;
  images: Map<string, Image>;
  /** The manifests, as YAML. */
  manifests: string;
  allowedContexts: string[];
  /** What is to start, without what that waits for. */
  enabled: string[];
  buttons: Button[];
  /** Arguments of `version_settings` and `ci_settings`. */
  settings: Record<string, unknown>;
}

export interface Button {
  name: string;
  text: string;
  /** On the page beside this one, as `resource/gateway`. */
  beside: string;
  inputs: string[];
  command: string[];
  env: string[];
  /** Whose log shows what the command prints. */
  resource: string;
}

/** @throws Error when the Tiltfile failed, when two resources have one name, or when one is to start that is none. */
export function readDefinition({ calls, error }: Outcome): Definition {
  if (error !== undefined) throw new Error(error);
  const argsOf = (name: string) => calls.filter((call) => call.function === name).map(({ args }) => args);
  const images = argsOf('docker_build').map((args) => Image.parse(args));
  const manifests = z.array(z.object({ yaml: z.object({ contents: z.string() }) })).parse(argsOf('k8s_yaml'));
  const allowed = z.array(z.object({ contexts: z.array(z.string()) })).parse(argsOf('allow_k8s_contexts'));
  const enabled = z
    .array(z.object({ resources: z.array(z.string()) }))
    .parse(argsOf('config.set_enabled_resources'));
  const resources = resourcesOf(argsOf('k8s_resource'), argsOf('local_resource'));
  return {
    resources,
    images: new Map(images.map((image) => [image.ref, image])),
    manifests: manifests.map(({ yaml }) => yaml.contents).join('\n---\n'),
    allowedContexts: allowed.flatMap(({ contexts }) => contexts),
    enabled: enabledOf(resources, enabled.at(-1)?.resources),
    buttons: buttonsOf(argsOf('v1alpha1.ui_button'), argsOf('v1alpha1.cmd')),
    settings: Object.assign({}, ...argsOf('version_settings'), ...argsOf('ci_settings')),
  };
}

/** As Tilt has it (internal/tiltfile/config/resources.go): a list without a name is as good as none, and starts everything. */
function enabledOf(resources: Map<string, Resource>, given: string[] = []): string[] {
  const unknown = given.filter((name) => !resources.has(name));
  if (unknown.length > 0) throw new Error(`resources that could not be found: ${unknown.join(', ')}`);
  return given.length > 0 ? given : [...resources.keys()];
}

function resourcesOf(onKubernetes: object[], onThisMachine: object[]): Map<string, Resource> {
  const resources = new Map<string, Resource>();
  for (const args of onKubernetes) {
    const { workload, new_name, ...rest } = KubernetesResource.parse(args);
    const name = workload ?? new_name ?? '';
    // Each call adds to what the calls before it said of the same workload.
    const before = resources.get(name);
    if (before && !workload) throw new Error(`two resources are called ${name}`);
    resources.set(name, {
      name,
      kind: workload ? 'workload' : 'objects',
      objects: [...(before?.objects ?? []), ...rest.objects],
      deps: [...(before?.deps ?? []), ...rest.resource_deps],
      labels: [...(before?.labels ?? []), ...rest.labels],
      ports: [
        ...(before?.ports ?? []),
        ...rest.port_forwards.map(({ local_port, container_port }): [number, number] => [
          local_port,
          container_port,
        ]),
      ],
      links: [
        ...(before?.links ?? []),
        ...rest.port_forwards.map(
          ({ local_port, link_path = '' }) => `http://127.0.0.1:${local_port}${link_path}`,
        ),
        ...rest.links.map(({ url }) => url),
      ],
      command: [],
      env: {},
      probe: undefined,
      watched: [],
    });
  }
  for (const args of onThisMachine) {
    const { name, cmd, serve_cmd, ...rest } = LocalResource.parse(args);
    if (resources.has(name)) throw new Error(`two resources are called ${name}`);
    resources.set(name, {
      name,
      kind: 'local',
      objects: [],
      deps: rest.resource_deps,
      labels: rest.labels,
      ports: [],
      links: rest.links.map(({ url }) => url),
      command: cmd ?? serve_cmd ?? [],
      env: rest.serve_env,
      probe: rest.readiness_probe?.http_get,
      watched: rest.deps,
    });
  }
  return resources;
}

function buttonsOf(buttons: object[], commands: object[]): Button[] {
  const Shown = z.object({
    name: z.string(),
    text: z.string(),
    location: z.object({ component_id: z.string(), component_type: z.string() }),
    inputs: z.array(z.object({ name: z.string() })),
  });
  const Command = z.object({
    args: z.array(z.string()),
    env: z.array(z.string()),
    annotations: z.object({ 'tilt.dev/resource': z.string() }),
    start_on: z.object({ ui_buttons: z.array(z.string()) }),
  });
  const runs = commands.map((args) => Command.parse(args));
  return buttons.map((args) => {
    const { name, text, location, inputs } = Shown.parse(args);
    const run = runs.find(({ start_on }) => start_on.ui_buttons.includes(name));
    return {
      name,
      text,
      beside: `${location.component_type}/${location.component_id}`,
      inputs: inputs.map((input) => input.name),
      command: run?.args ?? [],
      env: run?.env ?? [],
      resource: run?.annotations['tilt.dev/resource'] ?? '',
    };
  });
}

/** Names that cannot be put in an order in which each comes after what it depends on: a cycle, or behind one. */
export function unorderable(resources: Map<string, Pick<Resource, 'deps'>>): string[] {
  const waiting = new Map([...resources].map(([name, { deps }]) => [name, new Set(deps)]));
  for (;;) {
    const free = [...waiting].filter(([, deps]) => deps.size === 0).map(([name]) => name);
    if (free.length === 0) return [...waiting.keys()];
    for (const name of free) {
      waiting.delete(name);
      for (const deps of waiting.values()) deps.delete(name);
    }
  }
}

/** A resource and everything that must be ready before it, itself included. */
export function withDependencies(
  resources: Map<string, Pick<Resource, 'deps'>>,
  names: string[],
): Set<string> {
  const all = new Set<string>();
  const add = (name: string) => {
    if (all.has(name)) return;
    all.add(name);
    for (const dep of resources.get(name)?.deps ?? []) add(dep);
  };
  names.forEach(add);
  return all;
}
