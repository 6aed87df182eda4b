import { expect, test } from 'vitest';
import { consoleReport } from './console-report.ts';

test('what went as it should and what somebody should read do not look alike', () => {
  const lines: string[] = [];
  const stream = { isTTY: false, write: (text: string) => lines.push(text) } as unknown as NodeJS.WriteStream;
  const { report } = consoleReport(stream);
  report({ kind: 'end', step: 'sentry', ms: 300 });
  report({ kind: 'done', text: 'stopped gateway' });
  report({ kind: 'notice', text: 'killed  orders' });
  expect(lines).toEqual(['  ✔ sentry (0.3 s)\n', '  ✔ stopped gateway\n', '  ! killed  orders\n']);
});
