import type { TestContext } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    /** Why a test did not run; tests/run.ts prints it. */
    skipReason?: string;
  }
}

/** Ends a test that cannot run here, with the reason. It does not count as passed. */
export function skip(context: TestContext, reason: string): never {
  context.task.meta.skipReason = reason;
  return context.skip(reason);
}
