import { z } from 'zod';
import { runProvider } from './run.ts';

// A payment provider to try things with: a process of its own, without a sidecar, for it stands for somebody else's company.

const Environment = z.object({
  PORT: z.coerce.number().int().min(0).max(65_535),
  HOST: z.string().min(1).default('127.0.0.1'),
  API_KEY: z.string().min(16),
  WEBHOOK_URL: z.url().optional(),
  WEBHOOK_SECRET: z.string().startsWith('whsec_').optional(),
  STATE_FILE: z.string().min(1).optional(),
  SLOW_MS: z.coerce.number().int().min(0).optional(),
  LATE_MS: z.coerce.number().int().min(0).optional(),
});

const log = (line: object) =>
  console.log(JSON.stringify({ time: new Date().toISOString(), service: 'provider', ...line }));

const environment = Environment.safeParse(process.env);
if (!environment.success) {
  log({ level: 'fatal', msg: 'start-up failed', cure: z.prettifyError(environment.error) });
  process.exit(1);
}
const { PORT, HOST, API_KEY, WEBHOOK_URL, WEBHOOK_SECRET, STATE_FILE, SLOW_MS, LATE_MS } = environment.data;
const provider = await runProvider({
  port: PORT,
  host: HOST,
  apiKey: API_KEY,
  webhook: WEBHOOK_URL && WEBHOOK_SECRET ? { url: WEBHOOK_URL, secret: WEBHOOK_SECRET } : undefined,
  stateFile: STATE_FILE,
  pace: { slowMs: SLOW_MS, lateMs: LATE_MS },
  log,
});
log({ level: 'info', msg: 'ready', port: provider.port });
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    void provider.close().then(() => process.exit(0));
  });
