import { beforeEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import type { Manifest } from './manifests.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');

beforeEach(needsKubectl);

/** With the component on top of the local overlay, as the docs have it, and as production has it. */
const OVERLAYS: [string, () => Manifest[]][] = [
  ['local', () => renderOverlay({ overlay: 'local', components: ['ingress'] })],
  ['production', () => renderOverlay({ overlay: 'production' })],
];

interface Route {
  listener: string;
  rules: Rule[];
}
interface Rule {
  matches?: { path: { type: string; value: string } }[];
  filters?: object[];
  backendRefs?: { name: string; port: number }[];
}

function frontDoor(manifests: Manifest[]) {
  const of = (wanted: string) => manifests.filter(({ kind }) => kind === wanted);
  const gateways = of('Gateway');
  const routes = of('HTTPRoute').flatMap(({ spec }) =>
    spec.parentRefs.map((parent: { name: string; sectionName?: string }): Route => {
      // Without a listener's name a route is for all of them.
      expect(parent).toEqual({ name: 'shop', sectionName: expect.any(String) });
      return { listener: parent.sectionName ?? '', rules: spec.rules };
    }),
  );
  return { gateways, listeners: gateways.flatMap(({ spec }) => spec.listeners), routes };
}

/** Whether a path is let through to the edge, as the Gateway API matches: a prefix ends at a slash, and no match is all. */
function passes({ rules }: Route, path: string): boolean {
  return rules.some(({ matches, backendRefs = [] }) => {
    if (!backendRefs.some(({ name }) => name === topology.edge)) return false;
    if (!matches) return true;
    return matches.some(({ path: { type, value } }) => {
      if (type === 'Exact') return path === value;
      return type === 'PathPrefix' && `${path}/`.startsWith(value === '/' ? value : `${value}/`);
    });
  });
}

describe.each(OVERLAYS)('the front door, %s', (name, rendered) => {
  test('is one Gateway: HTTPS with the certificate of the Secret, and HTTP', () => {
    const { gateways, listeners } = frontDoor(rendered());
    expect(gateways.map(({ metadata, spec }) => [metadata.name, spec.gatewayClassName])).toEqual([
      ['shop', 'envoy-gateway'],
    ]);
    const hostname = name === 'production' ? { hostname: 'shop.example.com' } : {};
    const allowedRoutes = { namespaces: { from: 'Same' } };
    const tls = { mode: 'Terminate', certificateRefs: [{ kind: 'Secret', name: 'shop-tls' }] };
    expect(listeners).toEqual([
      { name: 'https', protocol: 'HTTPS', port: 443, tls, allowedRoutes, ...hostname },
      { name: 'http', protocol: 'HTTP', port: 80, allowedRoutes, ...hostname },
    ]);
  });

  test('says nothing without TLS but where it is with it, for good', () => {
    const plain = frontDoor(rendered()).routes.filter(({ listener }) => listener !== 'https');
    const filters = [{ type: 'RequestRedirect', requestRedirect: { scheme: 'https', statusCode: 301 } }];
    expect(plain).toEqual([{ listener: 'http', rules: [{ filters }] }]);
  });

  test('lets through what is meant for everybody, to the port of the edge, and nothing else', () => {
    const [route, ...others] = frontDoor(rendered()).routes.filter(({ listener }) => listener === 'https');
    expect(others).toEqual([]);
    if (!route) throw new Error('no route for HTTPS');
    expect(route.rules.flatMap((rule: Rule) => rule.backendRefs)).toEqual([
      { name: topology.edge, port: 80 },
    ]);
    const forwarded = topology.calls
      .filter((call) => call.forwarded)
      .flatMap(({ operations }) => operations.map(({ path }) => path.replaceAll(/\{\w+\}/g, 'any')));
    const pages = ['/', '/docs', '/docs/start.js', '/openapi.json', '/problems/bad_request'];
    expect([...forwarded, ...pages].filter((path) => !passes(route, path))).toEqual([]);
    const inside = [
      '/healthz',
      '/livez',
      '/readyz',
      '/metrics',
      '/messages/orders',
      '/sent/orders',
      '/v1.0/healthz',
    ];
    expect(inside.filter((path) => passes(route, path))).toEqual([]);
  });
});

test('control: a prefix that is too short, or a rule without a path, lets through what it should not', () => {
  const backendRefs = [{ name: topology.edge, port: 80 }];
  const route = (rule: Rule): Route => ({ listener: 'https', rules: [{ ...rule, backendRefs }] });
  expect(passes(route({}), '/metrics')).toBe(true);
  expect(passes(route({ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }), '/metrics')).toBe(true);
  expect(passes(route({ matches: [{ path: { type: 'PathPrefix', value: '/v1' } }] }), '/v1.0/healthz')).toBe(
    false,
  );
});
