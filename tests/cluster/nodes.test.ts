import { expect, test } from 'vitest';
import type { KubeObject } from './kubectl.ts';
import { noNodeReady } from './nodes.ts';

const node = (name: string, status: string, message = ''): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  status: {
    conditions: [
      { type: 'DiskPressure', status: 'False' },
      { type: 'Ready', status, message },
    ],
  },
});

test('one ready node is enough', () => {
  expect(noNodeReady([node('a', 'True'), node('b', 'Unknown')])).toBeUndefined();
});

test('when none is ready each is named, with what is known of it', () => {
  expect(noNodeReady([node('a', 'Unknown', 'Kubelet stopped posting node status.')])).toContain(
    'a (Kubelet stopped posting node status.). Cure: start it',
  );
  expect(noNodeReady([node('a', 'False'), node('b', 'Unknown')])).toContain('a, b');
  expect(noNodeReady([])).toContain('there is none');
});
