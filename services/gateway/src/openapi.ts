import { openApiDocumentOf } from '@sidecart/kit/openapi';
import { routes } from './routes.ts';

/** What the gateway adds to, or answers otherwise than, the services behind it; a pure function of the routes. */
export function openApiDocument() {
  return openApiDocumentOf('gateway', routes);
}
