/** A sleep that can be ended early; a call that comes while nobody sleeps ends the next sleep at once. */
export interface Wake {
  up(): void;
  sleep(ms: number): Promise<void>;
}

export function createWake(): Wake {
  let pending = false;
  let end: (() => void) | undefined;
  return {
    up() {
      pending = true;
      end?.();
    },
    async sleep(ms) {
      if (!pending && ms > 0) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          end = resolve;
          timer = setTimeout(resolve, ms);
        });
        clearTimeout(timer);
        end = undefined;
      }
      pending = false;
    },
  };
}
