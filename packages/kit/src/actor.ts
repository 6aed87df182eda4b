import { decodeOrNothing } from './percent.ts';

// Who asks, as one program tells another in a header, which takes no more than ASCII.

export const ACTOR_HEADER = 'x-sidecart-actor';
export const MAX_ACTOR_LENGTH = 128;

const VISIBLE = /^[\x21-\x7e]+$/;
/** A control character or a line break would forge lines where the name is printed, and PostgreSQL stores no NUL. */
const NAME = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u;
/**
 * Begins a name in percent-encoded UTF-8, as in RFC 8187. Without it a name is taken as it stands: one that has a % in it means
 * just that.
 */
const ENCODED = "UTF-8''";

/** Letters of any script, and blanks, though not only blanks. */
export function isActorName(name: string): boolean {
  return NAME.test(name) && name.trim() !== '' && [...name].length <= MAX_ACTOR_LENGTH;
}

/** The header's value: visible ASCII as it is, any other name encoded. */
export function writeActor(name: string): string {
  return VISIBLE.test(name) && !name.startsWith(ENCODED) ? name : ENCODED + encodeURIComponent(name);
}

/** The name that a header's value stands for; undefined when it cannot be read. */
export function readActor(value: string): string | undefined {
  // Other bytes may be of any encoding, and several headers come joined by a comma and a blank.
  if (!VISIBLE.test(value)) return undefined;
  const name = value.startsWith(ENCODED) ? decodeOrNothing(value.slice(ENCODED.length)) : value;
  return name !== undefined && isActorName(name) ? name : undefined;
}
