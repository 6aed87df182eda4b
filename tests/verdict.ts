/** What a run of the tests comes to. */
export interface Verdict {
  passed: number;
  failed: number;
  exitCode: number;
}

/**
 * Counts a run. A file that fails before its first test (an import, a hook) has no failed test of its own, nor has a set-up, a
 * tear-down or a rejection that nobody caught: each counts all the same, or the last line would tell of a good run. Where
 * everything was skipped, each with its reason, nothing failed.
 *
 * @param code of vitest
 */
export function verdictOf(o: {
  passed: number;
  failed: number;
  skipped: number;
  brokenFiles: number;
  code: number | null;
}): Verdict {
  const seen = o.failed + o.brokenFiles;
  const nothingRan = o.passed + o.skipped === 0;
  const unseen = seen === 0 && (o.code !== 0 || nothingRan) ? 1 : 0;
  const failed = seen + unseen;
  return { passed: o.passed, failed, exitCode: failed > 0 ? 1 : 0 };
}
