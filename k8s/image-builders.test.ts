import { expect, test } from 'vitest';
import { BUILDERS, type ImageBuild, imageName } from './image-builders.ts';

const image: ImageBuild = {
  name: 'orders',
  target: 'runtime',
  tag: 'abc1234',
  buildArgs: { VERSION: '1.0.0', SOURCE: '' },
  epoch: 1_700_000_000,
};
const common = [
  '--target',
  'runtime',
  '--tag',
  'sidecart/orders:abc1234',
  '--build-arg',
  'SERVICE=orders',
  '--build-arg',
  'VERSION=1.0.0',
  '--build-arg',
  'SOURCE=',
  '.',
];

test('docker builds with the time of the commit for the image', () => {
  expect(BUILDERS.docker.build(image)).toEqual({
    args: ['build', '--force-rm', ...common],
    env: { SOURCE_DATE_EPOCH: '1700000000' },
  });
});

test('buildah builds with a time that no commit changes', () => {
  const { args } = BUILDERS.buildah.build(image);
  expect(args).toEqual(['build', '--layers', '--timestamp', '315532800', ...common]);
  expect(BUILDERS.buildah.build({ ...image, epoch: 1 }).args).toEqual(args);
});

test('the network is the builder’s own choice unless it is named', () => {
  const { args } = BUILDERS.docker.build({ ...image, network: 'host' });
  expect(args.slice(-3)).toEqual(['--network', 'host', '.']);
});

test.each(['localhost:5000', '127.0.0.1:5000'])('buildah speaks plain HTTP to %s', (registry) => {
  const to = `${registry}/${imageName(image)}`;
  expect(BUILDERS.buildah.push(imageName(image), to)).toEqual([
    ['push', '--tls-verify=false', 'sidecart/orders:abc1234', `docker://${to}`],
  ]);
});

test('buildah speaks TLS to every other registry', () => {
  const [command] = BUILDERS.buildah.push('a', 'localhost.example.org/a');
  expect(command).toEqual(['push', 'a', 'docker://localhost.example.org/a']);
});
