import { STATUS_CODES } from 'node:http';
import { styleText } from 'node:util';
import type { Answer, Ask } from '../gateway-client.ts';

/** Headers of an answer that tell something about this API; the others are every server's. */
const TELLING_HEADERS = ['location', 'idempotency-replayed', 'retry-after', 'content-type'];
const WIDTH = 110;
const ITEMS_SHOWN = 3;
const MARGIN = '   ';

/** Prints what a walk does, each request with its answer. */
export interface Transcript {
  step(title: string): void;
  exchange(ask: Ask, answer: Answer): void;
  note(text: string): void;
}

export function createTranscript(print: (line: string) => void): Transcript {
  let steps = 0;
  return {
    step(title) {
      steps++;
      print(`\n${styleText('bold', `${steps}. ${title}`)}`);
    },
    exchange(ask, answer) {
      print(`${MARGIN}${styleText('cyan', `${ask.method} ${ask.path}`)}`);
      if (ask.key !== undefined) print(styleText('dim', `${MARGIN}Idempotency-Key: ${ask.key}`));
      if (ask.body !== undefined) print(MARGIN + formatJson(ask.body, MARGIN));
      const again = answer.attempts > 1 ? styleText('dim', `  (at attempt ${answer.attempts})`) : '';
      const colour = answer.status < 400 ? 'green' : 'yellow';
      print(`${MARGIN}${styleText(colour, `${answer.status} ${STATUS_CODES[answer.status] ?? ''}`)}${again}`);
      for (const name of TELLING_HEADERS) {
        const value = answer.headers.get(name);
        const plain = name === 'content-type' && value?.startsWith('application/json');
        if (value !== null && !plain) print(styleText('dim', `${MARGIN}${titleCase(name)}: ${value}`));
      }
      print(MARGIN + formatJson(answer.body, MARGIN));
    },
    note(text) {
      print(`${MARGIN}${styleText('dim', text)}`);
    },
  };
}

/** JSON in as few lines as are pleasant to read; of long lists the beginning. */
export function formatJson(value: unknown, indent = ''): string {
  const line = JSON.stringify(value, shortened);
  if (typeof value !== 'object' || value === null || line.length + indent.length <= WIDTH) return line;
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = (shortened('', value) as unknown[]).map((item) => inner + formatJson(item, inner));
    return `[\n${items.join(',\n')}\n${indent}]`;
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => `${JSON.stringify(name)}: ${formatJson(member, inner)}`);
  return `{\n${fillLines(members, inner)}\n${indent}}`;
}

/** Puts several short members on a line. */
function fillLines(members: string[], indent: string): string {
  const lines: string[] = [];
  for (const member of members) {
    const last = lines.at(-1);
    const joined = last && `${last}, ${member}`;
    if (joined && joined.length + indent.length < WIDTH && !joined.includes('\n'))
      lines[lines.length - 1] = joined;
    else lines.push(member);
  }
  return lines.map((line) => indent + line).join(',\n');
}

function shortened(_name: string, value: unknown): unknown {
  if (!Array.isArray(value) || value.length <= ITEMS_SHOWN) return value;
  return [...value.slice(0, ITEMS_SHOWN), `... and ${value.length - ITEMS_SHOWN} more`];
}

function titleCase(header: string): string {
  return header.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
}
