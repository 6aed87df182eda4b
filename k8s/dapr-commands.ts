import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { installCommand } from '../tests/cluster/dapr-installed.ts';
import { daprVersion } from './dapr-chart.ts';

/** A command that somebody is told to type, or that the pipeline runs, as one line for a shell. */
export interface ToldCommand {
  where: string;
  command: string;
}

/** For tests: all helm commands of the documents, the pipeline and the cures. */
export function helmCommands(): ToldCommand[] {
  return [...documentedCommands(), ...pipelineCommands(), ...cures()].filter(({ command }) =>
    command.startsWith('helm '),
  );
}

/** For tests: every line of the documents' blocks of shell, without its remark, and what stands between backticks in their text. */
export function documentedCommands(): ToldCommand[] {
  const files = ['README.md', ...readdirSync('docs').map((file) => `docs/${file}`)];
  return files
    .filter((file) => file.endsWith('.md'))
    .flatMap((where) => {
      const text = readFileSync(where, 'utf8');
      const blocks = [...text.matchAll(/^ *```bash\n(.*?)^ *```/gms)].flatMap(([, block = '']) =>
        lines(block),
      );
      const prose = text.replaceAll(/^ *```.*?^ *```/gms, '').matchAll(/`([^`]+)`/g);
      const inline = [...prose].map(([, code = '']) => code.replaceAll(/\s+/g, ' '));
      return [...blocks, ...inline].map((command) => ({ where, command }));
    });
}

function pipelineCommands(): ToldCommand[] {
  return readdirSync('.github/workflows').flatMap((file) => {
    const where = `.github/workflows/${file}`;
    const { jobs } = parse(readFileSync(where, 'utf8')) as {
      jobs: Record<string, { steps: { run?: string }[] }>;
    };
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    return steps.flatMap(({ run = '' }) => lines(run)).map((command) => ({ where, command }));
  });
}

function cures(): ToldCommand[] {
  return [{ where: 'tests/cluster/dapr-installed.ts', command: installCommand(daprVersion()) }];
}

const lines = (script: string) =>
  script
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/\s# .*/, '').trim());
