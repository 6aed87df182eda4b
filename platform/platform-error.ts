/** A failure that whoever runs the platform can do something about; logged with its cure. */
export class PlatformError extends Error {
  readonly cure: string;

  constructor(message: string, cure: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PlatformError';
    this.cure = cure;
  }
}
