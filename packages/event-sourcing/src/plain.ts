/**
 * Whether JSON gives back the very value. What it has no word for (a Map, a Date, NaN, undefined in a list) would come back as
 * something else, and without an error. A property that is undefined counts as none.
 */
export function survivesJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object') return typeof value === 'string' || typeof value === 'boolean';
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(survivesJson);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return Object.values(value).every((part) => part === undefined || survivesJson(part));
}
