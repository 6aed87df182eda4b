import { expect, test } from 'vitest';
import { publicUrl } from './image-source.ts';

test.each([
  ['https://git.example.org/shop/sidecart.git', 'https://git.example.org/shop/sidecart'],
  ['https://user:secret@git.example.org/shop/sidecart', 'https://git.example.org/shop/sidecart'],
  ['git@git.example.org:shop/sidecart.git', 'https://git.example.org/shop/sidecart'],
  ['ssh://git@git.example.org:2222/shop/sidecart.git', 'https://git.example.org/shop/sidecart'],
  ['/srv/git/sidecart', ''],
  ['file:///srv/git/sidecart', ''],
  ['', ''],
])('an image made from %s says %j', (remote, url) => expect(publicUrl(remote)).toBe(url));
