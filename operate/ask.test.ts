import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NoAnswerError } from './ask.ts';
import { deadLettersOf } from './dead-letters-client.ts';
import { eventsOf } from './events-client.ts';
import type { ServiceAccess } from './service-access.ts';

const access = (url: string, token = 'x'): ServiceAccess => ({ url, token, close() {} });

async function serve(listener: RequestListener): Promise<{ url: string; close: () => void }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  onTestFinished(close);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

describe.each([
  ['of dead letters', (to: ServiceAccess) => deadLettersOf('orders', to, 'Łukasz').show('1')],
  ['of events', (to: ServiceAccess) => eventsOf('orders', to, 'Łukasz').status()],
])('the client %s', (_, ask) => {
  test('says that nobody answers when nobody is there', async () => {
    const { url, close } = await serve(() => {});
    close();
    const asked = ask(access(url));
    await expect(asked).rejects.toBeInstanceOf(NoAnswerError);
    await expect(asked).rejects.toThrow(`orders does not answer at ${url}`);
  });

  test.each<[string, RequestListener]>([
    ['before the answer', (request) => request.socket.destroy()],
    [
      'in the middle of it',
      (request, response) => {
        response.writeHead(200, { 'content-length': '10' }).write('{"a"');
        setImmediate(() => request.socket.destroy());
      },
    ],
  ])('and when the connection breaks %s', async (_when, listener) => {
    const { url } = await serve(listener);
    await expect(ask(access(url))).rejects.toBeInstanceOf(NoAnswerError);
  });

  test('but not of a question that could not be sent: that is told as it is', async () => {
    const { url } = await serve((_request, response) => void response.end('{}'));
    const asked = ask(access(url, 'a token\nof two lines'));
    await expect(asked).rejects.toThrow(/header/);
    await expect(asked).rejects.not.toBeInstanceOf(NoAnswerError);
    await expect(ask(access('no url'))).rejects.toThrow(/URL/);
  });
});
