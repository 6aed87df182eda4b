import { createTranscript } from './demo/transcript.ts';
import { WalkError, walk } from './demo/walk.ts';
import { createGateway } from './gateway-client.ts';
import { type ClientArguments, runClient } from './run-client.ts';
import { findShop } from './shop-address.ts';

const USAGE = `Usage: npm run demo -- [--url URL]

A walk through the running shop as a client: places an order and follows it through the whole checkout (stock and money
held, packed, handed over and paid, delivered, one piece refunded), then a declined payment, a cancellation before the
order leaves, a refund that a person has to settle, an order that is rejected for lack of stock and one with a stale
price. Prints each request and answer. It uses products of its own (DEMO-...) and can be run any number of times.`;

await runClient({ usage: USAGE, takesFile: false, options: [], whenStopped: 'Stopped.' }, demo);

async function demo({ options }: ClientArguments, signal: AbortSignal): Promise<boolean> {
  const gateway = createGateway({ url: await findShop(options.url, process.env), signal });
  console.log(`The shop at ${gateway.url}`);
  try {
    await walk({ gateway, transcript: createTranscript(console.log), signal });
  } catch (error) {
    if (!(error instanceof WalkError)) throw error;
    console.error(`\n${error.message}`);
    return false;
  }
  console.log(
    '\nAll as expected: one order delivered and refunded in part, one declined, one cancelled, one settled by a person, ' +
      'one rejected for lack of stock, one refused for its price.\n' +
      'The same while parts of the shop are killed: npm run chaos. Messages that could not be handled: npm run dlq -- list.',
  );
  return true;
}
