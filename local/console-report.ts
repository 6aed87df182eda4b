import ora from 'ora';
import type { Report, ShopEvent } from './progress-events.ts';

/** Where a start tells what it does. */
export interface ConsoleReport {
  report: Report;
  /** Prints lines as they are. */
  print(text: string): void;
  /** Nothing turns any more; `print` still works. */
  finish(): void;
}

/** A turning line on a terminal; plain lines, each complete in itself, anywhere else (a file, a CI log). */
export function consoleReport(stream: NodeJS.WriteStream): ConsoleReport {
  // Some pseudo terminals have no width; the spinner would count endless lines to clear.
  return stream.isTTY && stream.columns > 0 ? spinnerReport(stream) : plainReport(stream);
}

function spinnerReport(stream: NodeJS.WriteStream): ConsoleReport {
  // Whoever types Ctrl-C shall reach the runner, not the spinner.
  const spinner = ora({ stream, discardStdin: false, hideCursor: false });
  const running = new Map<string, string>();
  const turn = () => {
    if (running.size === 0) spinner.stop();
    else
      spinner.start([...running].map(([step, detail]) => (detail ? `${step}: ${detail}` : step)).join(', '));
  };
  const print = (text: string) => {
    spinner.stop();
    stream.write(`${text}\n`);
    turn();
  };
  return {
    print,
    finish() {
      running.clear();
      spinner.stop();
    },
    report(event) {
      if (event.kind === 'begin') running.set(event.step, '');
      else if (event.kind === 'detail') {
        running.set(event.step, event.text);
        if (!event.passing) return print(describe(event));
      } else {
        if (event.kind === 'end') running.delete(event.step);
        return print(describe(event));
      }
      turn();
    },
  };
}

/** A passing line is worth repeating in a log this often, in milliseconds. */
const PASSING_EVERY_MS = 10_000;

function plainReport(stream: NodeJS.WriteStream): ConsoleReport {
  const print = (text: string) => void stream.write(`${text}\n`);
  let lastPassing = 0;
  return {
    print,
    finish: () => {},
    report(event) {
      if (event.kind === 'detail' && event.passing) {
        if (performance.now() - lastPassing < PASSING_EVERY_MS) return;
        lastPassing = performance.now();
      }
      print(describe(event));
    },
  };
}

function describe(event: ShopEvent): string {
  switch (event.kind) {
    case 'begin':
      return `  … ${event.step}`;
    case 'detail':
      return `    ${event.text}`;
    case 'end':
      return `  ✔ ${event.step} (${(event.ms / 1000).toFixed(1)} s)`;
    case 'done':
      return `  ✔ ${event.text}`;
    case 'notice':
      return `  ! ${event.text}`;
  }
}
