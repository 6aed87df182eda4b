import Table from 'cli-table3';
import { ancestorsOf, memoryOf } from './memory.ts';
import type { ProcessInfo } from './shop.ts';

/** One line of what runs. */
export interface ShopRow {
  service: string;
  url: string;
  sidecar: string;
  state: string;
  /** In bytes, sidecar included. */
  memory: number;
}

/** One row per service with its sidecar, per program below them, and for the runner with what started it. */
export async function shopRows(processes: ProcessInfo[], runnerPid: number): Promise<ShopRow[]> {
  const runner = [runnerPid, ...ancestorsOf(runnerPid)];
  const pids = [...processes.map(({ pid }) => pid), ...runner];
  const bytes = await memoryOf(pids);
  const memory = new Map(pids.map((pid, index) => [pid, bytes[index] ?? 0]));
  const rows = processes
    .filter(({ name }) => !name.endsWith('-dapr'))
    .map((process): ShopRow => {
      const sidecar = processes.find(({ name }) => name === `${process.name}-dapr`);
      return {
        service: process.name,
        url: process.url,
        sidecar: sidecar?.url ?? '',
        state: sidecar && sidecar.state !== 'ready' ? `sidecar ${sidecar.state}` : process.state,
        memory: (memory.get(process.pid) ?? 0) + (sidecar ? (memory.get(sidecar.pid) ?? 0) : 0),
      };
    });
  const own = runner.reduce((sum, pid) => sum + (memory.get(pid) ?? 0), 0);
  return [
    ...rows.sort((a, b) => Number(b.sidecar !== '') - Number(a.sidecar !== '')),
    { service: 'runner (with npm)', url: '', sidecar: '', state: 'ready', memory: own },
  ];
}

/** The table as text, with a last row for the sum. */
export function renderTable(rows: ShopRow[]): string {
  const table = new Table({
    head: ['service', 'URL', 'sidecar', 'state', 'memory'],
    colAligns: ['left', 'left', 'left', 'left', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push([row.service, row.url, row.sidecar, row.state, megabytes(row.memory)]);
  table.push(['', '', '', 'total', megabytes(rows.reduce((sum, row) => sum + row.memory, 0))]);
  return table.toString();
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1_000_000)} MB`;
