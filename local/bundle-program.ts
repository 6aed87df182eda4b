import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build, type Plugin } from 'esbuild';

// A program of its own, run by bundle.ts: its memory goes when it ends, and the runner stays for hours.
const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
if (!values.out) throw new Error('usage: bundle-program.ts --out FOLDER NAME=FILE...');

/**
 * Leaves packages out of the source map (an own map for each of their files, with next to nothing in it). With them it
 * has 12 MB, and an app that looked one stack up would keep 80 MB for it.
 */
const mapOwnCodeOnly: Plugin = {
  name: 'map-own-code-only',
  setup({ onLoad }) {
    const map = Buffer.from(JSON.stringify({ version: 3, sources: [''], mappings: 'AAAA' })).toString(
      'base64',
    );
    const comment = `\n//# sourceMappingURL=data:application/json;base64,${map}`;
    onLoad({ filter: /\/node_modules\/.*\.([cm]?js|json)$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      // JSON takes no comment, but is a JavaScript value. Only what is on the first line is mapped.
      const program = path.endsWith('.json') ? `module.exports =\n${text}` : text;
      return { contents: program + comment, loader: 'js' };
    });
  },
};

/** CommonJS packages inside an ES module still ask for Node's own modules by `require`. */
const REQUIRE =
  "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);";

/**
 * To process 1 of a container a signal means nothing until somebody listens, and loading takes a while: until the
 * program listens itself, it ends as any other process would.
 */
const SIGNALS =
  "if (process.pid === 1) for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.listenerCount(signal) > 1 || process.exit(143));";

const { metafile } = await build({
  entryPoints: Object.fromEntries(positionals.map((entry) => entry.split('=', 2) as [string, string])),
  outdir: values.out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // The text of the program stays in memory as well; names stay readable.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  // The bundles are copied elsewhere; the sources stay where they are.
  sourceRoot: pathToFileURL(`${values.out}/`).href,
  plugins: [mapOwnCodeOnly],
  logLevel: 'error',
  metafile: true,
  banner: { js: `${REQUIRE} ${SIGNALS}` },
});

// What went in, for whoever wants to know whether it has changed since.
await writeFile(join(values.out, 'inputs.json'), JSON.stringify(Object.keys(metafile.inputs)));
