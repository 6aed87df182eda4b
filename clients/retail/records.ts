import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse/sync';
import { UserError } from '../errors.ts';

/** One record of a CSV file, or what stands where one should be. */
export type FileRecord = ReadableRecord | BrokenRecord;

export interface ReadableRecord {
  /** Number of its first line in the file, the header being line 1. */
  line: number;
  /** As it stands in the file, without the line end. */
  raw: string;
  /** By column name. */
  fields: Readonly<Record<string, string>>;
}

export interface BrokenRecord {
  line: number;
  raw: string;
  fault: string;
}

export interface RetailFile {
  /** The header line as it stands in the file. */
  header: string;
  encoding: 'latin1' | 'utf8';
  records: AsyncIterable<FileRecord>;
}

/** Longer lines are no records of sales; the bound keeps a file without line ends from filling the memory. */
const LONGEST_LINE = 65_536;
/** How many lines one record may span (line ends inside quotes) before its quote counts as never closed. */
const MOST_LINES = 20;

/**
 * Opens a CSV file, ISO-8859-1 unless it starts with a UTF-8 byte order mark. Throws UserError when it cannot be
 * read or lacks one of the `columns`, which may stand in any order among others.
 */
export async function openRetailFile(path: string, columns: readonly string[]): Promise<RetailFile> {
  try {
    return await readRetailFile(createReadStream(path), path, columns);
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    // Of `ENOENT: no such file or directory, open '...'` the words in the middle.
    const [, words] = /^[A-Z]+: ([^,]+)/.exec((cause as Error).message) ?? [];
    throw new UserError(`Cannot read ${path}: ${words ?? cause}.`, { cause });
  }
}

/** As `openRetailFile`, of bytes that come from anywhere; `name` is for messages. */
export async function readRetailFile(
  bytes: AsyncIterable<Buffer>,
  name: string,
  columns: readonly string[],
): Promise<RetailFile> {
  const { encoding, text } = await decode(bytes);
  const records = csvRecords(splitLines(text));
  const { value: first } = await records.next();
  const names = first && 'values' in first ? first.values.map((column) => column.trim()) : [];
  assertColumns(name, names, columns);
  return { header: first?.raw ?? '', encoding, records: named(records, names) };
}

const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf);

async function decode(bytes: AsyncIterable<Buffer>) {
  const chunks = bytes[Symbol.asyncIterator]();
  const { value: first = Buffer.alloc(0) } = await chunks.next();
  const marked = first.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
  const encoding: RetailFile['encoding'] = marked ? 'utf8' : 'latin1';
  // Not TextDecoder for both: what it calls latin1 is Windows-1252. This one drops the byte order mark.
  const decoder = marked ? new TextDecoder('utf-8') : undefined;
  const toText = (chunk: Buffer) => decoder?.decode(chunk, { stream: true }) ?? chunk.toString('latin1');
  async function* text() {
    yield toText(first);
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield toText(next.value);
  }
  return { encoding, text: text() };
}

function assertColumns(path: string, names: string[], columns: readonly string[]): void {
  const missing = columns.filter((column) => !names.includes(column));
  if (missing.length > 0) {
    throw new UserError(
      `${path} lacks the column${missing.length > 1 ? 's' : ''} ${missing.join(', ')}. ` +
        `Its first line must name the columns; found there: ${names.join(', ').slice(0, 200) || 'nothing'}.`,
    );
  }
  const twice = columns.filter((column) => names.indexOf(column) !== names.lastIndexOf(column));
  if (twice.length > 0) throw new UserError(`${path} names the column ${twice.join(', ')} twice.`);
}

async function* named(records: AsyncIterable<CsvRecord>, names: string[]): AsyncGenerator<FileRecord> {
  for await (const record of records) {
    if ('fault' in record) yield record;
    else if (record.values.length !== names.length) {
      const fault = `${record.values.length} fields where the header has ${names.length}`;
      yield { line: record.line, raw: record.raw, fault };
    } else {
      const fields = Object.fromEntries(names.map((name, i) => [name, record.values[i] ?? '']));
      yield { line: record.line, raw: record.raw, fields };
    }
  }
}

type CsvRecord = { line: number; raw: string; values: string[] } | BrokenRecord;

/**
 * Reads CSV record by record. csv-parse is given one record at a time instead of the whole stream, because after
 * a stray quote it would take everything up to the next quote, or to the end of the file, for one field: here
 * a broken line costs only itself.
 */
export async function* csvRecords(lines: AsyncIterable<string>): AsyncGenerator<CsvRecord, undefined> {
  const source = lines[Symbol.asyncIterator]();
  const read: string[] = [];
  const lineAt = async (index: number): Promise<string | undefined> => {
    while (read.length <= index) {
      const { value, done } = await source.next();
      if (done) return undefined;
      read.push(value);
    }
    return read[index];
  };

  for (let line = 1; ; ) {
    const first = await lineAt(0);
    if (first === undefined) return;
    const { raw, spans } = await withClosedQuotes(first, lineAt);
    const values = raw.length > LONGEST_LINE ? undefined : parseRecord(raw);
    if (values) {
      if (raw !== '') yield { line, raw, values };
      read.splice(0, spans);
      line += spans;
    } else {
      const fault =
        first.length > LONGEST_LINE ? `line of more than ${LONGEST_LINE} characters` : 'broken quotes';
      yield { line, raw: first.slice(0, LONGEST_LINE), fault };
      read.shift();
      line += 1;
    }
  }
}

/** The line together with those after it that an open quote reaches into; the line alone if it is never closed. */
async function withClosedQuotes(
  first: string,
  lineAt: (index: number) => Promise<string | undefined>,
): Promise<{ raw: string; spans: number }> {
  let raw = first;
  for (let spans = 1; spans <= MOST_LINES; spans++) {
    if (hasClosedQuotes(raw)) return { raw, spans };
    const next = await lineAt(spans);
    if (next === undefined) break;
    raw += `\n${next}`;
  }
  return { raw: first, spans: 1 };
}

function hasClosedQuotes(text: string): boolean {
  return (text.split('"').length - 1) % 2 === 0;
}

function parseRecord(raw: string): string[] | undefined {
  if (raw === '') return [];
  try {
    const records = parse(raw, { relax_column_count: true });
    return records.length === 1 ? records[0] : undefined;
  } catch {
    return undefined;
  }
}

/** Lines without their ends (LF or CRLF). One longer than the bound is cut just behind it. */
export async function* splitLines(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = (lines.pop() ?? '').slice(0, LONGEST_LINE + 1);
    for (const line of lines) yield withoutReturn(line);
  }
  if (rest !== '') yield withoutReturn(rest);
}

function withoutReturn(line: string): string {
  return (line.endsWith('\r') ? line.slice(0, -1) : line).slice(0, LONGEST_LINE + 1);
}
