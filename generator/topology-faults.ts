import type { ExternalRow, Operation, ServiceRow, TopologyTable } from './topology-schema.ts';

/** What is wrong between the rows of the table, and how to cure it; `path` is the place in topology.yaml. */
export interface Fault {
  path: (string | number)[];
  message: string;
}

type Rows = TopologyTable['services'];

/** What no single row can know: that names, ports and routes fit together. */
export function crossFaults({ services, external }: TopologyTable): Fault[] {
  const rows = Object.entries(services);
  const faults = [
    ...edgeFaults(rows),
    ...portFaults(rows),
    ...routeFaults(rows),
    ...rows.flatMap(([name, row]) => [
      ...databaseFaults(name, row),
      ...listFaults(name, row, services),
      ...callFaults(name, row, services),
    ]),
  ];
  return [
    ...faults.map(({ path, message }) => ({ path: ['services', ...path], message })),
    ...externalFaults(external, services),
  ];
}

function edgeFaults(rows: [string, ServiceRow][]): Fault[] {
  const edges = rows.filter(([, row]) => row.edge);
  const faults: Fault[] = edges
    .filter(([, row]) => row.public)
    .map(([name]) => ({
      path: [name, 'public'],
      message: 'The edge forwards to others and has no public operations of its own. Remove it.',
    }));
  if (edges.length === 1) return faults;
  const message = `${edges.length} services are marked as the edge. Give exactly one \`edge: true\`.`;
  return [...faults, { path: [], message }];
}

function portFaults(rows: [string, ServiceRow][]): Fault[] {
  const owners = new Map<number, string>();
  return rows.flatMap(([name, { port }]) => {
    const owner = owners.get(port);
    owners.set(port, name);
    if (!owner) return [];
    return [{ path: [name, 'port'], message: `${port} is already the port of ${owner}. Choose a free one.` }];
  });
}

/** Two routes that differ only in the name of a parameter are one to a router. */
function routeFaults(rows: [string, ServiceRow][]): Fault[] {
  const owners = new Map<string, string>();
  return rows.flatMap(([name, row]) =>
    (row.public?.operations ?? []).flatMap(({ method, path }, index) => {
      const route = `${method} ${path.replaceAll(/\{[^}]*\}/g, '{}')}`;
      const owner = owners.get(route);
      owners.set(route, name);
      if (!owner) return [];
      const message = `${method} ${path} is already a public operation of ${owner}. Remove one.`;
      return [{ path: [name, 'public', 'operations', index], message }];
    }),
  );
}

function databaseFaults(name: string, row: ServiceRow): Fault[] {
  const field = (['topic', 'commands', 'consumes', 'sends'] as const).find((candidate) => row[candidate]);
  if (!field || row.database) return [];
  const message = 'Messages need an outbox or an inbox. Set `database: true`, or remove this.';
  return [{ path: [name, field], message }];
}

function listFaults(name: string, row: ServiceRow, services: Rows): Fault[] {
  const words = {
    consumes: { part: 'topic', self: 'A service does not read its own facts.', lacks: 'publishes nothing' },
    sends: { part: 'commands', self: 'A service sends itself no commands.', lacks: 'takes no commands' },
  } as const;
  return (['consumes', 'sends'] as const).flatMap((field) => {
    const { part, self, lacks } = words[field];
    return (row[field] ?? []).flatMap((other, index, all): Fault[] => {
      const fault = (message: string) => [{ path: [name, field, index], message }];
      if (all.indexOf(other) !== index) return fault(`${other} is listed twice. Remove one.`);
      if (other === name) return fault(`${self} Remove it.`);
      if (!services[other]) return fault(noService(other));
      if (!services[other][part]) return fault(`${other} ${lacks}. Give it \`${part}\`, or remove this.`);
      return [];
    });
  });
}

function callFaults(name: string, row: ServiceRow, services: Rows): Fault[] {
  return Object.keys(row.invokes ?? {}).flatMap((callee): Fault[] => {
    const fault = (message: string) => [{ path: [name, 'invokes', callee], message }];
    if (callee === name) return fault('A service calls itself without a sidecar. Remove it.');
    if (!services[callee]) return fault(noService(callee));
    if (services[callee].edge) return fault('The edge is called by clients only. Remove it.');
    return [];
  });
}

function noService(name: string): string {
  return `There is no service ${name}. Correct the name or add its row.`;
}

/** Whether clients may ask this of the service. */
export function offers(
  { public: offered }: Pick<ServiceRow, 'public'>,
  { method, path }: Operation,
): boolean {
  return (offered?.operations ?? []).some(
    (operation) => operation.method === method && operation.path === path,
  );
}

function externalFaults(externals: TopologyTable['external'], services: Rows): Fault[] {
  const ports = new Map(Object.entries(services).map(([name, { port }]) => [port, name]));
  return Object.entries(externals).flatMap(([name, row]) => {
    const fault = (path: (string | number)[], message: string): Fault => ({
      path: ['external', name, ...path],
      message,
    });
    const faults = userFaults(row, services).map(({ path, message }) => fault(path, message));
    if (services[name]) faults.push(fault([], `${name} is already a service. Choose another name.`));
    if ((row.url === undefined) === (row.simulator === undefined))
      faults.push(
        fault(
          [],
          'Give it either a `url` or a `simulator`: the one is where it is, the other stands in for it.',
        ),
      );
    const port = row.simulator?.port;
    const owner = port === undefined ? undefined : ports.get(port);
    if (owner)
      faults.push(
        fault(['simulator', 'port'], `${port} is already the port of ${owner}. Choose a free one.`),
      );
    if (port !== undefined) ports.set(port, name);
    if (row.simulator && row.secret && row.used_by.length > 1)
      faults.push(
        fault(['used_by'], 'A simulator knows the secret of one service. List one, or remove `secret`.'),
      );
    const { webhooks } = row;
    if (
      webhooks &&
      !row.used_by.some((user) => services[user] && offers(services[user], webhooks.operation))
    ) {
      const { method, path } = webhooks.operation;
      faults.push(
        fault(
          ['webhooks', 'operation'],
          `${method} ${path} is no public operation of ${row.used_by.join(' or ')}. Add it to its row, or correct it here.`,
        ),
      );
    }
    return faults;
  });
}

function userFaults({ used_by, secret }: ExternalRow, services: Rows): Fault[] {
  return used_by.flatMap((user, index, all): Fault[] => {
    const fault = (message: string) => [{ path: ['used_by', index], message }];
    if (all.indexOf(user) !== index) return fault(`${user} is listed twice. Remove one.`);
    if (!services[user]) return fault(noService(user));
    if (secret && !services[user].database)
      return fault(
        'Only a service with a database can read Secrets. Set `database: true` there, or remove `secret`.',
      );
    return [];
  });
}
