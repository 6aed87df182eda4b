/**
 * What of a migration the version before it may not survive. While a new version rolls out, the old one works on the new
 * schema, and after a roll-back it does so for as long as it takes. So a migration adds (expand); what an old version may still
 * use goes one release later (contract), and then says so: a comment `-- contract: why nothing uses it any more` before the
 * statement. An index is built while the old version waits to write: on a table that is small, or idle, the migration says so,
 * `-- locks: why writers can wait`. (CONCURRENTLY is no way out: migrations run in one transaction.)
 */

interface Form {
  matches: RegExp;
  /** Undefined for what an old version lives with. */
  fault?: string;
  /** The comment that answers for the fault; `-- contract:` where there is none. */
  mark?: RegExp;
}

const NAME = String.raw`(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?`;

/** The first that matches judges a clause of ALTER TABLE. */
const CLAUSES: Form[] = [
  { matches: /^SET \(autovacuum_/i },
  {
    matches: /^ADD COLUMN\b(?=.*\bNOT NULL\b)(?!.*\b(DEFAULT|GENERATED)\b)/i,
    fault: 'adds a column that is NOT NULL without a default: the old version inserts rows without it',
  },
  { matches: /^ADD COLUMN\b/i },
  { matches: /^DROP COLUMN\b/i, fault: 'drops a column that the old version may read' },
  { matches: /^RENAME\b/i, fault: 'renames what the old version knows by its old name' },
  {
    matches: /^ALTER COLUMN .*\b(SET DATA )?TYPE\b/i,
    fault: 'changes the type of a column under the old version',
  },
  {
    matches: /^ALTER COLUMN .*\bSET NOT NULL\b/i,
    fault: 'sets NOT NULL on what the old version may leave empty',
  },
  {
    matches: /^ALTER COLUMN .*\bDROP DEFAULT\b/i,
    fault: 'drops a default that the old version may count on',
  },
  { matches: /^ALTER COLUMN .*\b(SET DEFAULT|DROP NOT NULL)\b/i },
  { matches: /^ADD CONSTRAINT\b/i, fault: 'adds a constraint that rows of the old version may break' },
  {
    matches: /^DROP CONSTRAINT\b/i,
    fault: 'drops a constraint that an ON CONFLICT of the old version may name',
  },
];

const STATEMENTS: Form[] = [
  { matches: /^CREATE (TABLE|SEQUENCE|TYPE|SCHEMA|VIEW|FUNCTION)\b/i },
  { matches: /^CREATE UNIQUE INDEX\b/i, fault: 'adds a unique index that rows of the old version may break' },
  {
    matches: /^CREATE INDEX\b/i,
    fault: 'holds back every write of the old version to a table in use until the index is built',
    mark: /^--[ \t]*locks:[ \t]*\S/m,
  },
  { matches: /^LOCK TABLE\b/i },
  { matches: /^ALTER TYPE .*\bADD VALUE\b/i },
  { matches: /^COMMENT ON\b/i },
  { matches: /^DROP\b/i, fault: 'drops what the old version may use' },
];

const CONTRACT = /^--[ \t]*contract:[ \t]*\S/m;

/** One line for each statement of a migration's text that an old version may not survive and that is not marked. */
export function contractions(migration: string): string[] {
  const made = new Set<string>();
  return migration.split('--> statement-breakpoint').flatMap((part) => {
    const statement = withoutComments(part);
    if (statement === '') return [];
    const created = new RegExp(`^CREATE TABLE (?:IF NOT EXISTS )?(${NAME})`, 'i').exec(statement)?.[1];
    if (created) made.add(bare(created));
    const { fault, mark = CONTRACT } = judge(statement, made);
    return fault && !mark.test(part) ? [`${shorten(statement)}: ${fault}`] : [];
  });
}

/** A table of this same migration is unknown to any old version, so whatever is done to it is fine. */
function judge(statement: string, made: ReadonlySet<string>): Pick<Form, 'fault' | 'mark'> {
  const altered = new RegExp(`^ALTER TABLE (?:ONLY |IF EXISTS )*(${NAME}) (.*)$`, 'i').exec(statement);
  const indexed = new RegExp(`^CREATE (?:UNIQUE )?INDEX .*? ON (?:ONLY )?(${NAME})`, 'i').exec(statement);
  const table = altered?.[1] ?? indexed?.[1];
  if (table && made.has(bare(table))) return {};
  const text = altered?.[2] ?? statement;
  const form = (altered ? CLAUSES : STATEMENTS).find(({ matches }) => matches.test(text));
  return form ?? { fault: 'is of no form that is known to leave the old version alone' };
}

const withoutComments = (text: string): string =>
  text
    .replaceAll(/^\s*--.*$/gm, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/; ?$/, '')
    .trim();

const bare = (name: string): string => name.replaceAll('"', '').replace(/^public\./, '');

const shorten = (text: string): string => (text.length > 90 ? `${text.slice(0, 87)}...` : text);
