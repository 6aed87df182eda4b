import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Hono } from 'hono';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sidecart API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

const START = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', tryItOutEnabled: true });\n";

const ASSETS = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
} as const;

const HEADERS = {
  // Swagger UI sets inline styles and draws with data: images; nothing comes from elsewhere.
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'",
  'X-Content-Type-Options': 'nosniff',
};

/**
 * A page to try the API, served from this process alone. Its scripts are read from the npm package at each request:
 * they are larger than the gateway itself, and rarely asked for. A bundle of the gateway must therefore run where
 * `swagger-ui-dist` can be resolved.
 */
// biome-ignore lint/suspicious/noExplicitAny: any Hono app will do, whatever its environment
export function mountDocs(app: Hono<any, any, any>): void {
  app.get('/docs', (c) => c.html(PAGE, 200, HEADERS));
  app.get('/docs/start.js', (c) =>
    c.body(START, 200, { ...HEADERS, 'Content-Type': 'text/javascript; charset=utf-8' }),
  );
  for (const [name, type] of Object.entries(ASSETS)) {
    app.get(`/docs/${name}`, async (c) =>
      c.body(await readFile(join(assetFolder(), name), 'utf8'), 200, {
        ...HEADERS,
        'Content-Type': type,
        'Cache-Control': 'public, max-age=3600',
      }),
    );
  }
}

function assetFolder(): string {
  return dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
}
