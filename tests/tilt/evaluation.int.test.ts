import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CHECKOUT } from '../../local/run-paths.ts';
import { useEvaluator } from './evaluate.ts';
import { readDefinition, unorderable } from './recorded.ts';

const evaluate = useEvaluator();

describe('the evaluation', () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  /** The outcome when `from` was written as `to` in one of the Tiltfiles or the table. */
  const altered = async (file: string, from: string, to: string, args: string[] = []) => {
    const folder = mkdtempSync(join(tmpdir(), 'sidecart-tiltfile-'));
    folders.push(folder);
    for (const entry of readdirSync(CHECKOUT))
      if (['Tiltfile', 'tilt', 'topology.yaml'].includes(entry))
        cpSync(join(CHECKOUT, entry), join(folder, entry), { recursive: true });
      else symlinkSync(join(CHECKOUT, entry), join(folder, entry));
    const text = readFileSync(join(folder, file), 'utf8');
    expect(text).toContain(from);
    writeFileSync(join(folder, file), text.replace(from, to));
    return evaluate({ folder, args });
  };

  test('of a copy gives the same', async () => {
    const copy = readDefinition(await altered('Tiltfile', 'readiness_timeout', 'readiness_timeout'));
    expect([...copy.resources.keys()]).toEqual([...readDefinition(await evaluate()).resources.keys()]);
  });

  test.each([
    [
      'the name of a function',
      'tilt/cluster.Tiltfile',
      'local_resource(',
      'local_resourc(',
      'undefined: local_resourc',
    ],
    ['a function of a module', 'Tiltfile', 'config.parse()', 'config.pars()', 'module has no .pars field'],
    [
      'an argument',
      'tilt/cluster.Tiltfile',
      "labels=['setup']",
      "label=['setup']",
      'unexpected keyword argument "label"',
    ],
    [
      'an argument of an image',
      'tilt/images.Tiltfile',
      "target='dev'",
      "stage='dev'",
      'unexpected keyword argument "stage"',
    ],
    [
      'a file that is loaded',
      'Tiltfile',
      './tilt/buttons.Tiltfile',
      './tilt/button.Tiltfile',
      'no such file',
    ],
    [
      'a name that is loaded',
      'Tiltfile',
      "'client_buttons')",
      "'client_button_s')",
      'undefined: client_buttons',
    ],
  ])('finds a slip of the pen in %s', async (_, file, from, to, message) => {
    expect((await altered(file, from, to)).error).toContain(message);
  });

  test.each([
    [
      'a missing argument',
      'tilt/images.Tiltfile',
      "sync(path, '/app/' + path)",
      'sync(path)',
      'missing argument for remote_path',
    ],
    [
      'a text for a list',
      'Tiltfile',
      "resource_deps=['secrets']",
      "resource_deps='secrets'",
      'got string, want a list',
    ],
    [
      'a text for a number',
      'Tiltfile',
      'port_forward(port_of(services, edge)',
      "port_forward('8080'",
      'got string, want an int',
    ],
    [
      'a probe that is none',
      'tilt/local.Tiltfile',
      'readiness_probe=ready(port_of(services, edge))',
      'readiness_probe=8080',
      'want what probe() makes',
      '--local',
    ],
  ])('finds %s', async (_, file, from, to, message, ...args) => {
    expect((await altered(file, from, to, args)).error).toContain(message);
  });

  test.each([
    [
      'consumes: [inventory, ',
      'consumes: [inventry, ',
      'there is no service inventry, which the row of orders',
    ],
    ['sends: [inventory, ', 'sends: [inventry, ', 'there is no service inventry, which the row of orders'],
    [
      'invokes:\n      products:',
      'invokes:\n      prodcts:',
      'there is no service prodcts, which the row of',
    ],
    [
      'broker: jetstream',
      'broker: jetstrem',
      'the broker jetstrem, of which nothing is known here; write one of',
    ],
  ])('tells of %j in the table what a slip of the pen made of it', async (from, to, message) => {
    const { error } = await altered('topology.yaml', from, to);
    expect(error).toContain(message);
    expect(error).not.toContain('not in dict');
  });

  test.each([
    ['whose facts it reads', 'sends: [inventory, ', 'sends: ['],
    ['who takes its commands', 'consumes: [inventory, ', 'consumes: ['],
  ])('starts with a service %s, if it needs it for that alone', async (_, from, to) => {
    const { enabled } = readDefinition(await altered('topology.yaml', from, to, ['orders']));
    expect(enabled).toContain('inventory');
  });

  test('starts everything, as Tilt does, when a list without a name says what is to start', async () => {
    const outcome = await altered('Tiltfile', 'set_enabled_resources(selected)', 'set_enabled_resources([])');
    const { enabled, resources } = readDefinition(outcome);
    expect(enabled).toEqual([...resources.keys()]);
    const unknown = await altered('Tiltfile', '_resources(selected)', "_resources(['nowhere'])");
    expect(() => readDefinition(unknown)).toThrow('could not be found: nowhere');
  });

  test('finds a cycle, which the checks above would report', async () => {
    const outcome = await altered(
      'tilt/cluster.Tiltfile',
      "labels=['setup'], allow_parallel",
      "resource_deps=['secrets'], labels=['setup'], allow_parallel",
    );
    expect(unorderable(readDefinition(outcome).resources)).toContain('cluster');
  });
});
