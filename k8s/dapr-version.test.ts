import { satisfies } from 'semver';
import { describe, expect, test } from 'vitest';
import { PINS } from '../local/programs/pins.ts';
import { daprVersion } from './dapr-chart.ts';
import { helmCommands } from './dapr-commands.ts';

const CHART = /https:\/\/dapr\.github\.io\/helm-charts\/dapr-(.+?)\.tgz/;

describe('every command that installs or upgrades Dapr', () => {
  const commands = helmCommands().filter(({ command }) => /^helm (install|upgrade)\b.* dapr /.test(command));

  test('is found in each place that has one', () => {
    expect(new Set(commands.map(({ where }) => where))).toEqual(
      new Set(['docs/kubernetes.md', '.github/workflows/cluster.yaml', 'tests/cluster/dapr-installed.ts']),
    );
  });

  test.each(commands)('takes both files of values and names the chart by its address: $where', (told) => {
    expect(told.command).toMatch(/--values k8s\/dapr\/values\.yaml --values \.run\/dapr-ca\/values\.yaml\b/);
    expect(told.command).toMatch(CHART);
  });

  test('is of the version that the values say, where it names one', () => {
    const versions = commands.map(({ command }) => CHART.exec(command)?.[1] ?? '');
    const named = versions.filter((version) => /^\d/.test(version));
    expect(named).toEqual([daprVersion(), daprVersion()]);
  });
});

test('local mode would take that version too', () => {
  expect(satisfies(daprVersion(), PINS.daprd.accepts)).toBe(true);
});
