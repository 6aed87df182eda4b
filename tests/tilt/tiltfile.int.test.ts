import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { brokerServer } from '../../generator/kubernetes.ts';
import { loadTopology } from '../../generator/topology.ts';
import { portVariable } from '../../local/ports.ts';
import { CHECKOUT } from '../../local/run-paths.ts';
import { useEvaluator } from './evaluate.ts';
import { importedPackages } from './imports.ts';
import { type Definition, type Image, readDefinition, unorderable, withDependencies } from './recorded.ts';

const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));
const names = topology.services.map(({ name }) => name).sort();
const broker = brokerServer(topology.broker).name;
/** What runs from sources in the cluster. */
const simulators = topology.externals.flatMap(({ name, simulatorPort }) => (simulatorPort ? [name] : []));
const programs = [...names, ...simulators, 'platform'];
/** What runs of the shop itself, each with a port of the table. */
const own = [
  ...topology.services.map(({ name, port }) => ({ name, port, label: 'services' })),
  ...topology.externals.flatMap(({ name, simulatorPort }) =>
    simulatorPort ? [{ name, port: simulatorPort, label: 'outside' }] : [],
  ),
];
const edgePort = topology.services.find(({ name }) => name === topology.edge)?.port ?? 0;
/** What stands beside the gateway, or beside the shop without a cluster. */
const pages = (port: number) => ['docs', 'healthz'].map((page) => `http://127.0.0.1:${port}/${page}`);
const fromCheckout = (path: string) => relative(CHECKOUT, path);

const evaluate = useEvaluator();
const defined = new Map<string, Promise<Definition>>();
/** What the Tiltfile defines with these arguments; evaluated once for all tests. */
const define = (...args: string[]): Promise<Definition> => {
  const key = args.join(' ');
  const definition = defined.get(key) ?? evaluate({ args }).then(readDefinition);
  defined.set(key, definition);
  return definition;
};

interface KubernetesObject {
  kind: string;
  apiVersion: string;
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
  spec?: { template?: { spec: PodSpec } };
}
interface Container {
  name: string;
  image: string;
  securityContext?: { readOnlyRootFilesystem?: boolean };
  livenessProbe?: unknown;
}
interface PodSpec {
  containers: Container[];
  initContainers?: Container[];
}

const objectsOf = ({ manifests }: Definition): KubernetesObject[] =>
  parseAllDocuments(manifests).map((document) => document.toJS());
const workloadsOf = (definition: Definition) => objectsOf(definition).filter(({ spec }) => spec?.template);
const podOf = ({ spec }: KubernetesObject) => spec?.template?.spec as PodSpec;
const containersOf = (pod: PodSpec) => [...pod.containers, ...(pod.initContainers ?? [])];

describe('tilt up', () => {
  test('has a resource and an image for every service of the table', async () => {
    const { resources, images, enabled } = await define();
    expect(enabled).toEqual(names);
    for (const name of names) {
      expect(resources.get(name)).toMatchObject({ kind: 'workload', labels: ['services'] });
      expect(images.get(`sidecart/${name}`)).toMatchObject({ target: 'dev', build_args: { SERVICE: name } });
    }
  });

  test('builds the images that the manifests name, no other, each from a target that the Dockerfile has', async () => {
    const definition = await define();
    const deployed = workloadsOf(definition).flatMap((workload) =>
      containersOf(podOf(workload)).map(({ image }) => image.replace(/:[^:/]*$/, '')),
    );
    const ours = new Set(deployed.filter((image) => image.startsWith('sidecart/')));
    expect([...definition.images.keys()].sort()).toEqual([...ours].sort());
    const dockerfile = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8');
    for (const { context, target } of definition.images.values()) {
      expect(context).toBe(CHECKOUT);
      if (target) expect(dockerfile).toMatch(new RegExp(`^FROM .* AS ${target}$`, 'm'));
    }
  });

  test('puts every object of the manifests into one resource', async () => {
    const definition = await define();
    const objects = objectsOf(definition);
    const selected = [...definition.resources.values()].flatMap((resource) => resource.objects);
    // Tilt itself gives a Service to the pods that it selects.
    const others = objects.filter(({ kind, spec }) => !spec?.template && kind !== 'Service');
    const selectors = others.map(({ kind, metadata }) => `${metadata.name}:${kind.toLowerCase()}`);
    expect([...selected].sort()).toEqual([...selectors].sort());
    expect(new Set(selected).size).toBe(selected.length);
    for (const { metadata } of workloadsOf(definition))
      expect(definition.resources.get(metadata.name)?.kind).toBe('workload');
    expect(definition.resources.get('dapr')?.objects).toHaveLength(
      objects.filter(({ apiVersion }) => apiVersion.startsWith('dapr.io/')).length,
    );
  });

  test('starts nothing before what it needs', async () => {
    const { resources } = await define();
    expect(unorderable(resources)).toEqual([]);
    for (const { name, kind, deps } of resources.values()) {
      for (const dep of deps) expect(resources.has(dep), `${name} waits for ${dep}`).toBe(true);
      const before = withDependencies(resources, [name]);
      if (name !== 'cluster') expect(before).toContain('cluster');
      if (kind === 'workload') expect(before).toContain('secrets');
    }
    for (const name of names)
      for (const needed of ['namespace', 'secrets', 'dapr', 'postgres', broker, 'platform'])
        expect(withDependencies(resources, [name])).toContain(needed);
    for (const { name, users } of topology.externals.filter(({ name }) => simulators.includes(name)))
      for (const user of users) expect(resources.get(user)?.deps).toContain(name);
    expect(withDependencies(resources, [topology.edge])).toEqual(new Set(resources.keys()));
  });

  test('asks the cluster first, and makes the Secrets, both of the context and the namespace of the manifests', async () => {
    const { resources, manifests } = await define();
    const program = ['node', 'local/bootstrap.mjs', 'k8s/cli.ts'];
    expect(resources.get('cluster')?.command).toEqual([...program, 'check', '--context', 'kind-kind']);
    const secrets = ['secrets', '--context', 'kind-kind', '--namespace', topology.namespace];
    expect(resources.get('secrets')?.command).toEqual([...program, ...secrets]);
    expect(manifests).toContain(`namespace: ${topology.namespace}`);
  });

  test('groups its resources', async () => {
    const groups: Record<string, string[]> = {};
    for (const { name, labels } of (await define()).resources.values())
      for (const label of labels) groups[label] = [...(groups[label] ?? []), name].sort();
    expect(groups).toEqual({
      setup: ['cluster', 'dapr', 'namespace', 'secrets'],
      backing: [broker, 'platform', 'postgres'].sort(),
      services: names,
      outside: simulators,
    });
  });

  test('asks for the Tilt that the docs name, and gives up when it takes too long', async () => {
    const { settings } = await define();
    const docs = readFileSync(join(CHECKOUT, 'docs/kubernetes.md'), 'utf8');
    const [, oldest] = /\[Tilt\]\(\S+\) ([\d.]+) or newer/.exec(docs) ?? [];
    expect(settings).toEqual({
      constraint: `>=${oldest}.0`,
      timeout: expect.stringMatching(/^\d+m$/),
      // A pod under edit is given a day to start: only this ends `tilt ci` when one never does.
      readiness_timeout: expect.stringMatching(/^\d+m$/),
    });
  });

  test('has the gateway behind a port of this machine, with links to the page of the API and to its health', async () => {
    const gateway = (await define()).resources.get(topology.edge);
    expect(gateway?.ports).toEqual([[edgePort, edgePort]]);
    expect(gateway?.links).toEqual(pages(edgePort));
  });

  test.each([[[]], [['--local']]])('with %j the port of this machine may be another', async (args) => {
    const env = { [portVariable(topology.edge)]: '18080' };
    const { resources, buttons } = readDefinition(await evaluate({ args, env }));
    const line = resources.get(args.length > 0 ? 'shop' : topology.edge);
    expect(line?.links).toEqual(pages(18_080));
    expect(line?.ports).toEqual(args.length > 0 ? [] : [[18_080, edgePort]]);
    for (const button of buttons) expect(button.env).toEqual(['SIDECART_URL=http://127.0.0.1:18080']);
  });

  test('builds images by another network, from other bases and with another registry when told to', async () => {
    const env = {
      NODE_IMAGE: 'mirror/node',
      RUNTIME_IMAGE: 'mirror/debian',
      NPM_CONFIG_REGISTRY: 'http://npm.test',
    };
    const { images } = readDefinition(await evaluate({ args: ['--network', 'host'], env }));
    for (const { build_args, network } of images.values()) {
      expect(build_args).toEqual({ SERVICE: expect.any(String), ...env });
      expect(network).toBe('host');
    }
    const dockerfile = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8');
    for (const name of ['SERVICE', ...Object.keys(env)])
      expect(dockerfile).toMatch(new RegExp(`^ARG ${name}\\b`, 'm'));
  });

  test.each([[[]], [['--local']]])(
    'with %j has buttons beside the gateway that run scripts of package.json on it',
    async (args) => {
      const { buttons, resources } = await define(...args);
      const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
      expect(Object.fromEntries(buttons.map(({ name, text }) => [name, text]))).toEqual({
        'client-demo': 'Demo',
        'client-import': 'Import a catalogue',
        'client-replay': 'Replay its invoices',
        'client-doctor': 'Doctor',
        'client-dead-letters': 'Dead letters',
      });
      const onCluster = args.length > 0 ? '' : ` --context 'kind-kind'`;
      const more: Record<string, string> = {
        'client-import': ' -- "$FILE"',
        'client-replay': ' -- "$FILE"',
        'client-doctor': onCluster && ` -- check${onCluster}`,
        'client-dead-letters': ` -- list${onCluster && ` --kubernetes${onCluster}`}`,
      };
      for (const { name, command, inputs, resource, beside, env } of buttons) {
        const [, script = '', rest = ''] = /^npm run (\w+)(.*)$/.exec(command.at(-1) ?? '') ?? [];
        expect(scripts).toHaveProperty(script);
        expect(rest).toBe(more[name] ?? '');
        expect(inputs).toEqual(rest.includes('$FILE') ? ['FILE'] : []);
        expect(env).toEqual([`SIDECART_URL=http://127.0.0.1:${edgePort}`]);
        // A button beside a resource that is not there is shown nowhere.
        expect(beside.toLowerCase()).toBe(`resource/${topology.edge}`);
        expect(resource).toBe(topology.edge);
        expect(resources.has(resource)).toBe(true);
      }
    },
  );

  test.each([
    [['--cluster', 'lab'], 'lab', " --context 'lab'"],
    [['--cluster', "it's; echo"], "it's; echo", " --context 'it'\\''s; echo'"],
    [['--local'], 'production', undefined],
  ])('%s: doctor and dead letters look at the place where the shop runs', async (args, context, at) => {
    const { buttons } = readDefinition(await evaluate({ args, context }));
    const command = (button: string) => buttons.find(({ name }) => name === button)?.command.at(-1);
    expect(command('client-doctor')).toBe(at ? `npm run k8s -- check${at}` : 'npm run doctor');
    expect(command('client-dead-letters')).toBe(`npm run dlq -- list${at ? ` --kubernetes${at}` : ''}`);
  });

  test('lets only what runs from sources write its file system, and wait in its container when an edit broke it', async () => {
    const definition = await define();
    for (const workload of workloadsOf(definition))
      for (const { name, securityContext, livenessProbe } of containersOf(podOf(workload))) {
        const edited = name === 'app' && programs.includes(workload.metadata.name);
        expect(securityContext?.readOnlyRootFilesystem, `${workload.metadata.name}/${name}`).toBe(!edited);
        if (edited) expect(livenessProbe).toBeUndefined();
      }
  });

  test('leaves every volume when it is taken down', async () => {
    const volumes = objectsOf(await define()).filter(({ kind }) => kind === 'PersistentVolumeClaim');
    expect(volumes.map(({ metadata }) => metadata.name)).toEqual(simulators);
    for (const { metadata } of volumes) expect(metadata.annotations?.['tilt.dev/down-policy']).toBe('keep');
  });

  test.each(['ci', 'down'] as const)('tilt %s is the same definition', async (command) => {
    expect(readDefinition(await evaluate({ command }))).toEqual(await define());
  });
});

describe('a live update', () => {
  const inPod = (image: Image) => image.live_update.flatMap((step) => (step.made === 'sync' ? [step] : []));

  test('copies what is there to where the image has it', async () => {
    const { images } = await define();
    for (const image of images.values())
      for (const { local_path, remote_path } of inPod(image)) {
        expect(existsSync(local_path), local_path).toBe(true);
        expect(remote_path).toBe(`/app/${fromCheckout(local_path)}`);
      }
  });

  test('covers the sources of the service and of every package that it imports, directly or not', async () => {
    const { images } = await define();
    for (const name of programs) {
      const image = images.get(`sidecart/${name}`) as Image;
      const copied = inPod(image).map(({ local_path }) => fromCheckout(local_path));
      const sources = names.includes(name) ? `services/${name}/src` : name;
      expect(copied.sort()).toEqual([sources, ...importedPackages(sources)].sort());
    }
  });

  test('is left for a build when other packages are installed or the schema changes', async () => {
    const { images } = await define();
    for (const { name, database } of topology.services) {
      const image = images.get(`sidecart/${name}`) as Image;
      const [first] = image.live_update;
      const paths = first?.made === 'fall_back_on' ? first.paths.map(fromCheckout) : [];
      expect(paths).toContain('package-lock.json');
      expect(paths).toContain(`services/${name}/package.json`);
      expect(paths.includes(`services/${name}/migrations`)).toBe(database);
      // Tilt looks at nothing else for this image, and refuses a step that is about other files.
      const watched = image.only;
      for (const path of [...paths, ...inPod(image).map((step) => fromCheckout(step.local_path))])
        expect(watched).toContain(path);
    }
  });

  test('looks at no source of another service, nor does a build', async () => {
    const { images } = await define();
    for (const name of names)
      for (const other of names.filter((one) => one !== name))
        expect(images.get(`sidecart/${name}`)?.only).not.toContain(`services/${other}/src`);
  });

  test('and a build are given paths that exist, among them all that the Dockerfile copies', async () => {
    const { images } = await define();
    const dockerfile = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8');
    const stages = dockerfile.split(/^(?=FROM )/m);
    const upToDev = stages.slice(0, stages.findIndex((stage) => / AS dev$/m.test(stage)) + 1);
    const copies = [...upToDev.join('').matchAll(/^COPY (?!.*--from)(?:--\S+ )*(.*) \S+$/gm)];
    const copied = copies.flatMap(([, paths = '']) => paths.split(' '));
    expect(copied).toContain('package-lock.json');
    for (const { only } of images.values()) {
      for (const path of only) expect(existsSync(join(CHECKOUT, path)), path).toBe(true);
      for (const path of copied)
        expect(
          only.some((given) => `${given}/`.startsWith(`${path}/`)),
          path,
        ).toBe(true);
    }
  });
});

describe('tilt up -- with names', () => {
  /** What a service needs by the table, found another way than the Tiltfile does. */
  const needed = (wanted: string[]) => {
    const edges = [
      // Who asks what was sent gets on without an answer.
      ...topology.calls
        .filter(({ repairs }) => repairs === undefined)
        .map(({ caller, callee }) => [caller, callee] as const),
      ...topology.topics.flatMap(({ kind, owner, publishers, consumers }) =>
        (kind === 'fact' ? consumers : publishers).map((app) => [app, owner] as const),
      ),
    ];
    const all = new Set(wanted);
    for (const name of all) for (const [from, to] of edges) if (from === name) all.add(to);
    return [...all].sort();
  };

  test.each(names)('%s starts it and what it needs', async (name) => {
    expect((await define(name)).enabled).toEqual(needed([name]));
  });

  test('orders starts no gateway, but database and broker', async () => {
    const { enabled, resources } = await define('orders');
    expect(enabled).toEqual(['inventory', 'orders', 'payments', 'products', 'shipping']);
    expect(withDependencies(resources, enabled)).toContain('postgres');
    expect(withDependencies(resources, enabled)).toContain(broker);
  });

  test('--without leaves out what others would need', async () => {
    const { enabled, resources } = await define('--without', 'inventory');
    expect(enabled).toEqual(names.filter((name) => name !== 'inventory'));
    expect(withDependencies(resources, enabled)).not.toContain('inventory');
    const others = ['orders', 'payments', 'products', 'shipping'];
    expect((await define('orders', '--without', 'inventory')).enabled).toEqual(others);
  });

  test.each([[['orders', '--without', 'orders']], [names.flatMap((name) => ['--without', name])]])(
    '%j is refused: nothing is left, of which Tilt would make everything',
    async (args) => {
      expect((await evaluate({ args })).error).toContain('--without takes away all that was to start (');
    },
  );

  test.each([['order'], ['--without', 'order']])(
    '%s %s is refused, with the names there are',
    async (...args) => {
      const { error } = await evaluate({ args });
      expect(error).toContain(`there is no service order; topology.yaml has ${names.join(', ')}`);
    },
  );

  test('an unknown option is refused', async () => {
    expect((await evaluate({ args: ['--only', 'orders'] })).error).toContain('unknown flag: --only');
  });
});

describe('the kube context', () => {
  test.each(['kind-kind', 'kind-local', 'k3d-shop', 'minikube', 'docker-desktop'])(
    '%s is allowed',
    async (context) => {
      expect(readDefinition(await evaluate({ context })).allowedContexts).toEqual([context]);
    },
  );

  test.each(['', 'production', 'gke_shop_europe', 'arn:aws:eks:eu:1:cluster/kind-shop', 'my-minikube'])(
    "'%s' is refused, with the cure, before anything is rendered",
    async (context) => {
      const { error, calls } = await evaluate({ context });
      expect(error).toContain(
        `the kube context '${context}' is none of kind, k3d, minikube or Docker Desktop`,
      );
      expect(error).toContain(`--cluster NAME`);
      expect(calls.map((call) => call.function)).not.toContain('k8s_yaml');
    },
  );

  test('with another name is allowed when it is the one that is meant', async () => {
    const at = (context: string) => evaluate({ context, args: ['--cluster', 'lab'] });
    expect(readDefinition(await at('lab')).allowedContexts).toEqual(['lab']);
    expect((await at('production')).error).toContain("the kube context 'production'");
  });
});

test.each([[[]], [['--local']]])(
  'the table is asked for its faults before it is read, with %j',
  async (args) => {
    const { calls } = await evaluate({ args });
    const asked = calls.findIndex((call) => call.function === 'local');
    expect(calls[asked]?.args).toMatchObject({
      command: ['node', 'local/bootstrap.mjs', 'generator/check-table.ts'],
    });
    expect(asked).toBeLessThan(calls.findIndex((call) => call.function === 'read_yaml'));
  },
);

describe('tilt up -- --local', () => {
  test('runs the shop and shows each service, with nothing of Kubernetes or Docker', async () => {
    const outcome = await evaluate({ args: ['--local'], context: 'production' });
    const { resources } = readDefinition(outcome);
    expect([...resources.keys()].sort()).toEqual([...names, ...simulators, 'shop'].sort());
    expect(unorderable(resources)).toEqual([]);
    const used = new Set(outcome.calls.map((call) => call.function));
    for (const name of ['k8s_context', 'k8s_yaml', 'k8s_resource', 'kustomize', 'docker_build'])
      expect(used).not.toContain(name);
  });

  test('starts what npm start does, at the ports of the table, and anew when anything that it runs changes', async () => {
    const shop = (await define('--local')).resources.get('shop');
    const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
    expect(shop?.command.join(' ')).toBe(scripts.start);
    expect(shop?.watched.map(fromCheckout)).toEqual([
      'components',
      'dapr',
      'packages',
      'services',
      'topology.yaml',
      ...simulators,
    ]);
    for (const path of shop?.watched ?? []) expect(existsSync(path), path).toBe(true);
    expect(shop?.env).toEqual(
      Object.fromEntries(own.map(({ name, port }) => [portVariable(name), String(port)])),
    );
    expect(shop?.probe).toMatchObject({ port: edgePort, path: '/readyz' });
    expect(shop?.labels).toEqual(['shop']);
    expect(shop?.links).toEqual(pages(edgePort));
  });

  test('shows the log of each service, and whether it is ready', async () => {
    const { resources } = readDefinition(
      await evaluate({ args: ['--local'], env: { SIDECART_RUN_DIR: '/elsewhere' } }),
    );
    for (const { name, port, label } of own) {
      const here = (await define('--local')).resources.get(name);
      expect(here?.command.at(-1)).toBe(`.run/logs/${name}.log`);
      expect(resources.get(name)?.command.at(-1)).toBe(`/elsewhere/logs/${name}.log`);
      expect(here).toMatchObject({ probe: { port, path: '/readyz' }, deps: ['shop'], labels: [label] });
    }
  });

  test.each([['orders'], ['--without', 'orders']])('is refused with %s %s', async (...args) => {
    const { error } = await evaluate({ args: ['--local', ...args] });
    expect(error).toContain('--local always starts the whole shop');
  });
});
