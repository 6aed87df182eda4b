import { ShopError } from './shop-error.ts';

/**
 * Ends a command on what its user can do something about: told with the cure, never as a stack, and the exit code is 1.
 * @throws the error itself if it is another one: then the stack is what helps.
 */
export function complain(error: unknown): void {
  if (!(error instanceof ShopError)) throw error;
  console.error(`${error.message}\nCure: ${error.cure}`);
  process.exitCode = 1;
}
