import { execa } from 'execa';
import type { Target } from './shop.ts';

/** A command of an operator, as `npm run NAME -- ...` runs it, about the shop under test. */
export function operatorCommand(name: 'dlq' | 'events', shop: () => Target & { runDir?: string }) {
  return async (...args: string[]): Promise<{ code: number | undefined; output: string }> => {
    const context = process.env.SIDECART_TEST_CLUSTER;
    const { runDir } = shop();
    const { exitCode, all } = await execa(
      process.execPath,
      ['local/bootstrap.mjs', `operate/${name}.ts`, ...args, ...(context ? ['--context', context] : [])],
      { env: runDir ? { SIDECART_RUN_DIR: runDir } : {}, all: true, reject: false },
    );
    return { code: exitCode, output: all };
  };
}
