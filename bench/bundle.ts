import { buildSync } from 'esbuild';

/** What CommonJS packages in an ES module miss. */
const REQUIRE = {
  js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
};

/** One file of a program, as the services are run: compiled as it goes it would be slower. `external` packages stay where they are installed. */
export function bundle(source: string, outfile: string, external: string[] = []): void {
  const options = { bundle: true, platform: 'node', target: 'node24', format: 'esm' } as const;
  buildSync({ ...options, entryPoints: [source], outfile, external, banner: REQUIRE });
}
