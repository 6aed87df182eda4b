import { setTimeout as sleep } from 'node:timers/promises';
import { catalog } from '@sidecart/contracts/catalog';
import { newId } from '@sidecart/kit/ids';
import { createLogger } from '@sidecart/kit/log';
import { callJson, type JsonAnswer, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { WEBHOOK_SECRET } from '../../../provider/testing.ts';
import { deliver, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createPaymentsApp } from './app.ts';
import type { AskProvider } from './provider.ts';
import { subscriptions } from './subscriptions.ts';
import { createPaymentWorker, type WorkerOptions } from './worker.ts';

/** The service on a database of its own, without a sidecar. */
export async function openPayments() {
  const own = await serviceDatabase('payments');
  const { database } = own;
  const outbox = createOutbox({ service: 'payments', catalog, owns: ['payments'] });
  const clock = () => new Date();
  const base = testDeps('payments');
  const consumer = createConsumer({ ...base, database, topics: subscriptions(outbox, clock) });
  const deps = { database, outbox, clock };
  const app = createPaymentsApp(base, { ...deps, consumer, webhookSecret: WEBHOOK_SECRET });
  const money = (amount: number) => ({ amount, currency: 'GBP' });
  /** The broker would deliver it again; a test wants to know. */
  async function send(type: Parameters<typeof deliver>[1], data: Parameters<typeof deliver>[2], id?: string) {
    const answer = await deliver(app, type, data, id);
    if (answer.status !== 200 || answer.body.status !== 'SUCCESS')
      throw new Error(`${type} was not taken: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }

  return {
    ...own,
    app,
    deps,
    health: base.health,
    /** Starts a worker that is quick to lose its patience. */
    worker(ask: AskProvider, more: Partial<WorkerOptions> = {}) {
      const worker = createPaymentWorker({
        ...deps,
        ...base,
        log: createLogger({ service: 'payments', level: 'silent' }),
        ask,
        leaseMs: 2000,
        pollMs: 20,
        backOffMs: 30,
        ...more,
      });
      void worker.start();
      return worker;
    },
    authorise: (order_id: string, token = 'tok_ok', amount = 1000, id?: string) =>
      send('AuthorisePayment', { order_id, amount: money(amount), token }, id),
    capture: (order_id: string, amount = 1000, id?: string) =>
      send('CapturePayment', { order_id, amount: money(amount) }, id),
    letGo: (order_id: string, id?: string) => send('VoidPayment', { order_id, reason: 'test' }, id),
    refund: (order_id: string, amount: number, refund_id = newId('rfd'), id?: string) =>
      send('RefundPayment', { order_id, refund_id, amount: money(amount) }, id),
    // biome-ignore lint/suspicious/noExplicitAny: a test reaches into whatever came back
    async paymentOf(order: string): Promise<any> {
      const { body } = await callJson(app, 'GET', `/v1/payments?order_id=${order}`);
      return body.items[0];
    },
    /** Waits until nothing of the order waits for the provider, and gives its payment. */
    // biome-ignore lint/suspicious/noExplicitAny: a test reaches into whatever came back
    async settled(order: string, withinMs = 15_000): Promise<any> {
      const until = performance.now() + withinMs;
      for (;;) {
        const payment = await this.paymentOf(order);
        if (payment?.operations.every(({ state }: { state: string }) => state !== 'pending')) return payment;
        if (performance.now() > until)
          throw new Error(`still pending after ${withinMs} ms: ${JSON.stringify(payment)}`);
        await sleep(20);
      }
    },
    /** What payments told the world about the order, by type. */
    async told(order: string): Promise<string[]> {
      return (await own.outbox()).filter(({ key }) => key === order).map(({ type }) => type);
    },
    async deadLetters(): Promise<string[]> {
      return (await own.eyes<{ detail: string }[]>`SELECT detail FROM dead_letter`).map((row) => row.detail);
    },
    /** Hands in a webhook as the gateway does. */
    webhook(body: string, headers: Record<string, string>): Promise<JsonAnswer> {
      return callJson(app, 'POST', '/v1/payments/webhooks', body, {
        'content-type': 'application/json',
        ...headers,
      });
    },
  };
}

export type TestPayments = Awaited<ReturnType<typeof openPayments>>;
