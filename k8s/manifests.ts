import { parseAllDocuments } from 'yaml';
import { kubectl } from './kubectl.ts';

/** A Kubernetes object as kustomize prints it. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: every kind has its own fields
  [field: string]: any;
}

/** What kustomize makes of a folder, by the kubectl on the PATH. */
export function render(folder: string): Manifest[] {
  return parseAllDocuments(kubectl(['kustomize', folder])).map((document) => document.toJS() as Manifest);
}

/** `Deployment/orders`: unique in one namespace of this project. */
export const nameOf = ({ kind, metadata }: Pick<Manifest, 'kind' | 'metadata'>): string =>
  `${kind}/${metadata.name}`;

/** Objects by their names, for a comparison. */
export function byName<T extends Pick<Manifest, 'kind' | 'metadata'>>(objects: T[]): Record<string, T> {
  return Object.fromEntries(objects.map((object) => [nameOf(object), object]));
}
