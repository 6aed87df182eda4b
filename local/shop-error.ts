/** A failure that the user can do something about: shown as one line with its cure, never as a stack. */
export class ShopError extends Error {
  readonly cure: string;

  constructor(message: string, cure: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ShopError';
    this.cure = cure;
  }
}
