import { withDeadline } from './deadline.ts';
import { HandlerTimeoutError } from './failures.ts';

/** Who may work at the same time: any number beside each other, or one alone. */
export interface Turns {
  /**
   * Waits until all who came before have had their turn, as far as they are in the way; resolves to what ends this one.
   * @throws HandlerTimeoutError after `ms`; then it has no turn.
   */
  take(alone: boolean, ms: number): Promise<() => void>;
}

export function createTurns(): Turns {
  let working = 0;
  let someoneAlone = false;
  /** In the order in which they came, or one who is alone would never have a turn. */
  const waiting: { alone: boolean; go: () => void }[] = [];

  function next(): void {
    for (let first = waiting[0]; first; first = waiting[0]) {
      if (someoneAlone || (first.alone && working > 0)) return;
      waiting.shift();
      working += 1;
      someoneAlone = first.alone;
      first.go();
    }
  }

  return {
    async take(alone, ms) {
      let go = () => {};
      const turn = new Promise<void>((resolve) => {
        go = resolve;
      });
      const place = { alone, go };
      waiting.push(place);
      next();
      try {
        await withDeadline(ms, turn, () => new HandlerTimeoutError(`Waited ${ms} ms for its turn`));
      } catch (err) {
        const at = waiting.indexOf(place);
        if (at === -1) end();
        else waiting.splice(at, 1);
        next();
        throw err;
      }
      let over = false;
      return () => {
        if (!over) end();
        over = true;
      };

      function end(): void {
        working -= 1;
        if (alone) someoneAlone = false;
        next();
      }
    },
  };
}
