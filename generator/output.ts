import { stringify } from 'yaml';

/** A file of the project that `npm run generate` writes; `path` is relative to the project's root. */
export interface Output {
  path: string;
  content: string;
}

/** The first lines of every generated file. `source` is what to change instead. */
export function header(source: string, comment = '#'): string {
  return `${comment} Generated from ${source} by \`npm run generate\`. Do not edit: the next run overwrites it.\n`;
}

/** YAML documents under the generated header, each with the comment that a reader needs. */
export function yamlFile(source: string, documents: { comment?: string; value: unknown }[]): string {
  const bodies = documents.map(
    ({ comment, value }) =>
      `${commented(comment)}${stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })}`,
  );
  return `${header(source)}${bodies.join('---\n')}`;
}

function commented(comment: string | undefined): string {
  if (!comment) return '';
  return `${comment
    .trim()
    .split('\n')
    .map((line) => `# ${line.trim()}`.trimEnd())
    .join('\n')}\n`;
}
