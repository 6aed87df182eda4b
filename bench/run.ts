const benches: Record<string, () => Promise<unknown>> = {
  start: () => import('./start.ts').then((bench) => bench.benchStart()),
  order: () => import('./order.ts').then((bench) => bench.benchOrder()),
  edit: () => import('./edit.ts').then((bench) => bench.benchEdit()),
  events: () => import('./events.ts').then((bench) => bench.benchEvents()),
  messaging: () => import('./messaging.ts').then((bench) => bench.benchMessaging()),
};

const bench = benches[process.argv[2] ?? ''];
if (!bench) {
  console.error(`Usage: npm run bench -- ${Object.keys(benches).join(' | ')} [--full]`);
  process.exit(2);
}
await bench();
process.exit(0);
