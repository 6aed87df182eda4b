import { stringify } from 'yaml';

/** A file of the project that `npm run generate` writes; `path` is relative to the project's root. */
export interface Output {
  path: string;
  content: string;
}

/** The first line of every generated file, in the file's own form of a comment. `source` is what to change instead. */
export function header(source: string, open = '# ', close = ''): string {
  return `${open}Generated from ${source} by \`npm run generate\`. Do not edit: the next run overwrites it.${close}\n`;
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
