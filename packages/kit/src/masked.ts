/** What stands where a value is not shown. */
export const NOT_SHOWN = '(not shown)';

/** The value without those of the named fields, wherever they are: it may be deep. */
export function masked(value: unknown, names: readonly string[]): unknown {
  const text = JSON.stringify(value, (key, each) => (names.includes(key) ? NOT_SHOWN : each));
  return JSON.parse(text);
}

/** The same for a text, which is JSON laid out, or what somebody took for it. */
export function maskedText(text: string, names: readonly string[]): string {
  try {
    return JSON.stringify(masked(JSON.parse(text), names), null, 2);
  } catch {
    const field = new RegExp(`("(?:${names.join('|')})"\\s*:\\s*")(?:[^"\\\\]|\\\\.)*`, 'g');
    return text.replace(field, `$1${NOT_SHOWN}`);
  }
}

/** The way back: what was not shown is what is in the same place of `before`. */
export function unmasked(value: unknown, before: unknown, names: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const was = Object(before);
  const back = (key: string, each: unknown) =>
    names.includes(key) && each === NOT_SHOWN ? (was[key] ?? each) : unmasked(each, was[key], names);
  const entries = Object.entries(value).map(([key, each]) => [key, back(key, each)] as const);
  return Array.isArray(value) ? entries.map(([, each]) => each) : Object.fromEntries(entries);
}
