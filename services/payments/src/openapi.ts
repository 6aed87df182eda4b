import { openApiDocumentOf } from '@sidecart/kit/openapi';
import { routes } from './routes.ts';

/** What payments offers over HTTP; a pure function of the routes. */
export function openApiDocument() {
  return openApiDocumentOf('payments', routes);
}
