import { z } from 'zod';
import type { Message } from './ledger.ts';

/** The topic of the rig's component. */
export const TOPIC = 'bench';
export const BENCH_TYPE = 'BenchDone';
export const SELF_TYPE = 'BenchAgain';

export const benchData = z.object({ n: z.int(), key: z.string(), seq: z.int(), filler: z.string() });

const key = (data: Message) => data.key;

/** One fact that goes through the broker, one message of the service to itself. */
export const benchCatalog = {
  [BENCH_TYPE]: { topic: TOPIC, kind: 'fact', schema: benchData, key },
  [SELF_TYPE]: { topic: 'self', kind: 'command', schema: benchData, key },
} as const;
