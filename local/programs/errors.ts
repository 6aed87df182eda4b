import { ShopError } from '../shop-error.ts';

/** A program that this machine cannot give, with what a person can do about it. */
export class ProgramError extends ShopError {
  constructor(message: string, cure: string, options?: ErrorOptions) {
    super(message, cure, options);
    this.name = 'ProgramError';
  }
}

/** One place where a program could come from did not give it; the next place is tried. */
export class SourceError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SourceError';
  }
}

/** For `catch`: gives a SourceError as a value, and throws everything else on. */
export function onlySourceError(err: unknown): SourceError {
  if (err instanceof SourceError) return err;
  throw err;
}
