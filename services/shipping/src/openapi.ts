import { openApiDocumentOf } from '@sidecart/kit/openapi';
import { routes } from './routes.ts';

/** What shipping offers over HTTP; a pure function of the routes. */
export function openApiDocument() {
  return openApiDocumentOf('shipping', routes);
}
