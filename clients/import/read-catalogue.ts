import { type CatalogueProduct, createCatalogueBuilder } from '../retail/catalogue.ts';
import type { FileRecord } from '../retail/records.ts';
import { isFaulty, readSaleLine } from '../retail/sale-line.ts';
import type { RejectFile } from './rejects.ts';

/** What a file holds; the header is no record. records = used + returned + rejected. */
export interface CatalogueReading {
  products: CatalogueProduct[];
  records: number;
  /** Sales, from which the catalogue is made. */
  used: number;
  /** Goods that came back: their price is that of an earlier sale, no fact about the day. */
  returned: number;
  rejected: number;
  /** How often each reason stands in the reject file; a record can have several. */
  reasons: Map<string, number>;
}

/** Makes a catalogue of the sales in a file and gives what cannot be used to the reject file. */
export async function readCatalogue(
  records: AsyncIterable<FileRecord>,
  rejects: Pick<RejectFile, 'add'>,
  today: string,
): Promise<CatalogueReading> {
  const catalogue = createCatalogueBuilder();
  const reading = { records: 0, used: 0, returned: 0, rejected: 0, reasons: new Map<string, number>() };
  const reject = async (record: FileRecord, reasons: readonly string[]) => {
    reading.rejected++;
    for (const reason of reasons) reading.reasons.set(reason, (reading.reasons.get(reason) ?? 0) + 1);
    await rejects.add(record.line, reasons, record.raw);
  };

  for await (const record of records) {
    reading.records++;
    if ('fault' in record) {
      await reject(record, [record.fault]);
      continue;
    }
    const line = readSaleLine(record, today);
    if (isFaulty(line)) await reject(record, line.faults);
    else if (line.quantity < 0) reading.returned++;
    else {
      reading.used++;
      catalogue.add(line);
    }
  }
  return { ...reading, products: catalogue.products() };
}
