import { expect, test } from 'vitest';
import { topology } from './fixture.ts';
import { type OpenApiDocument, operationFaults, publicOpenApi } from './openapi.ts';

const $ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const books = (): OpenApiDocument => ({
  paths: {
    '/v1/books': { get: { summary: 'List', schema: $ref('Books') }, post: { summary: 'Add' } },
    '/v1/books/{id}': { get: { summary: 'Read' } },
    '/v1/books/{id}/lend': { post: { summary: 'Lend' } },
    '/v1/books/returns': { post: { summary: 'Return' } },
    '/v1/titles': { post: { summary: 'Titles', schema: $ref('Internal') } },
  },
  components: {
    schemas: { Books: { items: $ref('Book') }, Book: { type: 'object' }, Internal: { type: 'object' } },
  },
});
const documents = (edge: OpenApiDocument = {}, other = books()) =>
  new Map([
    ['edge', edge],
    ['books', other],
    ['readers', {}],
  ]);
const merged = (all: Map<string, OpenApiDocument>) => JSON.parse(publicOpenApi(topology, all).content);

test('only public operations are shown, with the schemas they need', () => {
  const { paths, components } = merged(documents());
  expect(Object.keys(paths)).not.toContain('/v1/titles');
  expect(paths['/v1/books']).toHaveProperty('post');
  expect(Object.keys(components.schemas)).toEqual(['Book', 'Books']);
});

test('where the edge answers otherwise, it has the word', () => {
  const edge = { paths: { '/v1/books/{id}': { get: { summary: 'Read, with its readers' } } } };
  expect(merged(documents(edge)).paths['/v1/books/{id}'].get.summary).toBe('Read, with its readers');
});

test('one name for two schemas is refused', () => {
  const edge = {
    paths: { '/v1/books/{id}': { get: { schema: $ref('Book') } } },
    components: { schemas: { Book: { type: 'string' } } },
  };
  expect(() => merged(documents(edge))).toThrow(/its schema Book differs/);
});

test('the table and the routes must say the same', () => {
  expect(operationFaults(topology, documents())).toEqual([]);
  const other = books();
  delete other.paths?.['/v1/titles'];
  Object.assign(other.paths ?? {}, { '/v1/secret': { get: {} } });
  expect(operationFaults(topology, documents({}, other))).toEqual([
    expect.stringMatching(/^topology\.yaml: books has no route POST \/v1\/titles/),
    expect.stringMatching(/^services\/books\/src\/routes\.ts: nobody may call GET \/v1\/secret/),
  ]);
});
