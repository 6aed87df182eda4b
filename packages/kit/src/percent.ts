/** Undefined: it is not percent-encoded UTF-8. */
export function decodeOrNothing(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
