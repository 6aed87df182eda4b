/** One place in which two objects differ, as in `spec.template.spec.containers[app].image`. */
export interface Difference {
  path: string;
  /** Undefined where it is missing. */
  left: unknown;
  right: unknown;
}

/** Where two values differ, as deep as both have structure. Items of lists that have names are compared by name. */
export function differences(left: unknown, right: unknown, path = ''): Difference[] {
  if (isRecord(left) && isRecord(right)) {
    const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
    return keys.flatMap((key) => differences(left[key], right[key], path ? `${path}.${key}` : key));
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    const [ours, theirs] = [byName(left), byName(right)];
    const keys = [...new Set([...ours.keys(), ...theirs.keys()])];
    return keys.flatMap((key) => differences(ours.get(key), theirs.get(key), `${path}[${key}]`));
  }
  return left === right ? [] : [{ path, left, right }];
}

/** By `name` where every item has one of its own, else by position. */
function byName(items: unknown[]): Map<string, unknown> {
  const names = items.map((item) =>
    isRecord(item) && typeof item.name === 'string' ? item.name : undefined,
  );
  const named = names.every((name) => name !== undefined) && new Set(names).size === names.length;
  return new Map(items.map((item, i) => [named ? String(names[i]) : String(i), item]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
