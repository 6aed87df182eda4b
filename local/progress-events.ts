/** What a start or a stop has to tell. A step begins once and ends once, unless everything is given up. */
export type ShopEvent =
  | { kind: 'begin'; step: string }
  /** News inside a step that takes long: a line of a download, of a build. */
  | { kind: 'detail'; step: string; text: string; passing: boolean }
  | { kind: 'end'; step: string; ms: number }
  /** Something outside of a step that went as it should: a process that stopped when asked to. */
  | { kind: 'done'; text: string }
  /** Anything that a person should read: a restart, an orphan, a process that had to be killed. */
  | { kind: 'notice'; text: string };

export type Report = (event: ShopEvent) => void;

/** Runs `work` as one step of the start. */
export async function step<T>(report: Report, name: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  report({ kind: 'begin', step: name });
  const result = await work();
  report({ kind: 'end', step: name, ms: performance.now() - startedAt });
  return result;
}
