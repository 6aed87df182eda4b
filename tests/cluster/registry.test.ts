import { expect, test } from 'vitest';
import { readHosting } from './registry.ts';

const hosting = (text: string) => ({ 'localRegistryHosting.v1': text });

test('tools and nodes use the same name unless another is given for the nodes', () => {
  expect(readHosting(hosting('host: "localhost:5000"\nhelp: "https://kind.sigs.k8s.io"\n'))).toEqual({
    push: 'localhost:5000',
    pull: 'localhost:5000',
  });
  expect(readHosting(hosting('host: localhost:5001\nhostFromContainerRuntime: registry:5000'))).toEqual({
    push: 'localhost:5001',
    pull: 'registry:5000',
  });
});

test.each([undefined, hosting(''), hosting('help: nobody')])(
  'without a host: an error with the cure %#',
  (data) => {
    expect(() => readHosting(data)).toThrow(/names no host.*registry/s);
  },
);
