import type { StockLine } from '@sidecart/contracts/common';
import { HandOver, Loss, NewPackage, type Shipment } from '@sidecart/contracts/shipping';
import { type FakeAnswer, type FakeWorld, ok, page, problem, type Serve } from './fake-http.ts';

/** The fake of shipping. */
export interface FakeWarehouse {
  serve: Serve;
  shipments: Map<string, Shipment>;
  create(orderId: string, lines: readonly StockLine[]): void;
  /** False when it has left. */
  cancel(orderId: string): boolean;
}

export function createFakeWarehouse({ requests, now, newId }: FakeWorld): FakeWarehouse {
  const shipments = new Map<string, Shipment>();
  const packed = new Set<string>();

  const set = (shipment: Shipment, changes: Partial<Shipment>) =>
    ok(Object.assign(shipment, changes, { updated_at: now() }));

  const pack = (shipment: Shipment, key: string, body: unknown): FakeAnswer => {
    const { lines, weight_grams } = NewPackage.parse(body);
    requests.push(`PACK ${shipment.order_id}`);
    if (packed.has(key)) return ok(shipment);
    if (shipment.status === 'cancelled') return problem(409, 'shipment_cancelled');
    if (shipment.status !== 'preparing') return problem(409, 'shipment_has_left');
    const left = leftToPack(shipment);
    if (left.length === 0) return problem(409, 'nothing_left_to_pack');
    const chosen = lines ?? left;
    const tooMuch = chosen.some(
      ({ sku, quantity }) => quantity > (left.find((line) => line.sku === sku)?.quantity ?? 0),
    );
    if (tooMuch) return problem(409, 'more_than_left_to_pack');
    packed.add(key);
    const one = { id: newId('pkg'), lines: chosen, ...(weight_grams !== undefined && { weight_grams }) };
    return { ...set(shipment, { packages: [...shipment.packages, one] }), status: 201 };
  };

  const handOver = (shipment: Shipment, body: unknown): FakeAnswer => {
    const { carrier, tracking } = HandOver.parse(body);
    requests.push(`HAND OVER ${shipment.order_id}`);
    if (shipment.status === 'cancelled') return problem(409, 'shipment_cancelled');
    if (shipment.status !== 'preparing') return ok(shipment);
    if (leftToPack(shipment).length > 0) return problem(409, 'not_all_packed');
    return set(shipment, { status: 'handed_over', carrier, ...(tracking !== undefined && { tracking }) });
  };

  const arrive = (shipment: Shipment, status: 'delivered' | 'lost'): FakeAnswer => {
    requests.push(`${status === 'lost' ? 'LOSE' : 'DELIVER'} ${shipment.order_id}`);
    if (shipment.status === 'cancelled') return problem(409, 'shipment_cancelled');
    if (shipment.status === 'preparing') return problem(409, 'shipment_not_handed_over');
    return shipment.status === 'handed_over' ? set(shipment, { status }) : ok(shipment);
  };

  return {
    shipments,
    create(order_id, lines) {
      const at = now();
      shipments.set(order_id, {
        id: newId('shp'),
        order_id,
        status: 'preparing',
        lines: lines.map(({ sku, quantity }) => ({ sku, quantity })),
        packages: [],
        created_at: at,
        updated_at: at,
      });
    },
    cancel(orderId) {
      const shipment = shipments.get(orderId);
      if (shipment?.status !== 'preparing') return false;
      set(shipment, { status: 'cancelled' });
      return true;
    },
    serve({ method, key = '', body }, [resource, id, action], query) {
      if (resource !== 'shipments') return undefined;
      if (id === undefined) {
        const orderId = query.get('order_id');
        const listed = [...shipments.values()].reverse();
        return page(orderId === null ? listed : listed.filter(({ order_id }) => order_id === orderId), query);
      }
      const shipment = [...shipments.values()].find((one) => one.id === id);
      if (!shipment) return problem(404, 'not_found');
      switch (`${method} ${action ?? ''}`) {
        case 'GET ':
          return ok(shipment);
        case 'POST packages':
          return pack(shipment, key, body);
        case 'POST hand-over':
          return handOver(shipment, body);
        case 'POST deliver':
          return arrive(shipment, 'delivered');
        case 'POST lose':
          Loss.parse(body);
          return arrive(shipment, 'lost');
      }
      return undefined;
    },
  };
}

function leftToPack({ lines, packages }: Shipment): StockLine[] {
  const packed = packages.flatMap((one) => one.lines);
  return lines
    .map(({ sku, quantity }) => ({
      sku,
      quantity: packed
        .filter((line) => line.sku === sku)
        .reduce((left, line) => left - line.quantity, quantity),
    }))
    .filter(({ quantity }) => quantity > 0);
}
