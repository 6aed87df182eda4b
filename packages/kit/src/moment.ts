import { z } from 'zod';

/** A moment that a client names, in a query most often, where a `+` that is not encoded arrives as a space. */
export const Moment = z.iso.datetime({
  offset: true,
  error:
    'Expected a moment such as 2026-11-27T09:30:00Z or 2026-11-27T10:30:00+01:00; in a URL, + is written %2B',
});
