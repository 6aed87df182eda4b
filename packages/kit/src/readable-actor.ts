import type { MiddlewareHandler } from 'hono';
import { ACTOR_HEADER, MAX_ACTOR_LENGTH, readActor } from './actor.ts';
import { ProblemError } from './problem.ts';

/**
 * For routes that keep who did something: what changes anything is refused when the actor is given and cannot be read, since it
 * would be kept as done by `anonymous`.
 *
 * @example app.use('/admin/things/*', readableActor);
 */
export const readableActor: MiddlewareHandler = async (c, next) => {
  const given = c.req.header(ACTOR_HEADER);
  const changes = c.req.method !== 'GET' && c.req.method !== 'HEAD';
  if (changes && given !== undefined && readActor(given) === undefined)
    throw new ProblemError('actor_invalid', {
      errors: [
        {
          pointer: 'header:X-Sidecart-Actor',
          code: 'invalid',
          detail: `Is no name of at most ${MAX_ACTOR_LENGTH} letters in visible ASCII, and none in percent-encoded UTF-8.`,
        },
      ],
    });
  return next();
};
