import type { Output } from './output.ts';
import { importFromService } from './service-modules.ts';
import type { Topology } from './topology.ts';

type Json = Record<string, unknown>;

/** What this part of an OpenAPI document looks like; the rest is passed on as it is. */
export interface OpenApiDocument {
  paths?: Record<string, Record<string, Json>>;
  components?: { schemas?: Record<string, Json> };
}

/** Each service's own OpenAPI document, by service. */
export async function collectOpenApi(
  root: string,
  topology: Topology,
): Promise<Map<string, OpenApiDocument>> {
  const entries = topology.services.map(async ({ name }) => {
    const module = await importFromService<{ openApiDocument: () => OpenApiDocument }>(root, name, 'openapi');
    return [name, module.openApiDocument()] as const;
  });
  return new Map(await Promise.all(entries));
}

/** Operations that only the table or only the code knows: the first would fail, the second nobody could reach. */
export function operationFaults(topology: Topology, documents: Map<string, OpenApiDocument>): string[] {
  return topology.services
    .filter((service) => !service.edge)
    .flatMap(({ name }) => {
      const offered = new Set(
        Object.entries(documents.get(name)?.paths ?? {}).flatMap(([path, methods]) =>
          Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
        ),
      );
      const listed = new Set(
        topology.calls
          .filter(({ callee, repairs }) => callee === name && repairs === undefined)
          .flatMap(({ operations }) => operations.map(({ method, path }) => `${method} ${path}`)),
      );
      return [
        ...[...listed]
          .filter((operation) => !offered.has(operation))
          .map(
            (operation) =>
              `topology.yaml: ${name} has no route ${operation} in services/${name}/src/routes.ts. Add it there, or remove it here.`,
          ),
        ...[...offered]
          .filter((operation) => !listed.has(operation))
          .map(
            (operation) =>
              `services/${name}/src/routes.ts: nobody may call ${operation}. Add it to a row of topology.yaml, or remove the route.`,
          ),
      ];
    });
}

/**
 * The document that the edge serves: the public operations of all services in the order of the table, each as the
 * edge itself describes it where it does. Throws when two services mean different things by one schema name.
 */
export function publicOpenApi(topology: Topology, documents: Map<string, OpenApiDocument>): Output {
  const own = documents.get(topology.edge) ?? {};
  const paths: Record<string, Record<string, Json>> = {};
  const schemas = new Map<string, Json>();
  for (const call of topology.calls.filter(({ forwarded }) => forwarded)) {
    const theirs = documents.get(call.callee) ?? {};
    for (const { method, path } of call.operations) {
      const verb = method.toLowerCase();
      const document = own.paths?.[path]?.[verb] ? own : theirs;
      const operation = document.paths?.[path]?.[verb];
      if (!operation) continue;
      paths[path] = { ...paths[path], [verb]: operation };
      addSchemas(schemas, operation, document, call.callee);
    }
  }
  const sorted = Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
  const merged = {
    openapi: '3.1.0',
    info: { title: 'Sidecart', version: '1' },
    paths,
    components: { schemas: sorted },
  };
  return {
    path: `services/${topology.edge}/src/openapi.generated.json`,
    content: `${JSON.stringify(merged, null, 2)}\n`,
  };
}

/** Copies what `part` refers to, directly or through other schemas. */
function addSchemas(
  into: Map<string, Json>,
  part: unknown,
  document: OpenApiDocument,
  service: string,
): void {
  for (const name of referredSchemas(part)) {
    const schema = document.components?.schemas?.[name];
    if (!schema)
      throw new Error(`services/${service}: its OpenAPI document refers to a schema ${name} that it lacks`);
    const known = into.get(name);
    if (known && JSON.stringify(known) !== JSON.stringify(schema)) {
      throw new Error(
        `services/${service}: its schema ${name} differs from that of another service. Rename one of them.`,
      );
    }
    if (known) continue;
    into.set(name, schema);
    addSchemas(into, schema, document, service);
  }
}

function referredSchemas(part: unknown): string[] {
  if (Array.isArray(part)) return part.flatMap(referredSchemas);
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) =>
    key === '$ref' && typeof value === 'string'
      ? [value.replace('#/components/schemas/', '')]
      : referredSchemas(value),
  );
}
